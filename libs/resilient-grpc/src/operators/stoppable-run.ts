import { Subject, takeUntil, type Observable, type Observer } from 'rxjs';

/**
 * One subscription that can be stopped from the outside, also while its source still emits synchronously and there is no
 * Subscription yet to unsubscribe. Nothing arrives after `stop`, and the source has been torn down when it returns.
 */
export class StoppableRun<T> {
  readonly #stopped = new Subject<void>();
  #isOver = false;

  start(source: Observable<T>, observer: Observer<T>): void {
    if (this.#isOver) return;
    source.pipe(takeUntil(this.#stopped)).subscribe({
      next: (value) => {
        if (!this.#isOver) observer.next(value);
      },
      error: (error: unknown) => {
        if (this.#end()) observer.error(error);
      },
      complete: () => {
        if (this.#end()) observer.complete();
      },
    });
  }

  /** Harmless when it is over. */
  stop(): void {
    if (this.#end()) this.#stopped.next();
  }

  #end(): boolean {
    const isFirst = !this.#isOver;
    this.#isOver = true;
    return isFirst;
  }
}
