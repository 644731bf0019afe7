import { Subject, takeUntil, type Observable, type Observer, type Subscription } from 'rxjs';

/**
 * One subscription that can be stopped from the outside, also while its source still emits synchronously and there is no
 * Subscription yet to unsubscribe. Nothing arrives after `stop`, and the source has been torn down when it returns. The source has
 * also been torn down when its error or completion arrives, so that work that starts in answer to that does not overlap with it.
 */
export class StoppableRun<T> {
  readonly #stopped = new Subject<void>();
  #subscription: Subscription | undefined;
  /** The end of a source that ended while it was subscribed to. */
  #end: (() => void) | undefined;
  #isOver = false;

  start(source: Observable<T>, observer: Observer<T>): void {
    if (this.#isOver) return;
    this.#subscription = source.pipe(takeUntil(this.#stopped)).subscribe({
      next: (value) => {
        if (!this.#isOver) observer.next(value);
      },
      error: (error: unknown) => {
        this.#endWith(() => {
          observer.error(error);
        });
      },
      complete: () => {
        this.#endWith(() => {
          observer.complete();
        });
      },
    });
    this.#tearDown();
  }

  /** Harmless when it is over. */
  stop(): void {
    this.#end = undefined;
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopped.next();
  }

  #endWith(end: () => void): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#end = end;
    this.#tearDown();
  }

  /** Ends, if the source has ended and can be torn down. */
  #tearDown(): void {
    if (this.#subscription === undefined || this.#end === undefined) return;
    const end = this.#end;
    this.#end = undefined;
    this.#subscription.unsubscribe();
    end();
  }
}
