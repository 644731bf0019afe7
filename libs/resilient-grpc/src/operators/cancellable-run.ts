import { Subject, takeUntil, type Observable, type Observer, type Subscription } from 'rxjs';

/**
 * Subscription that can be cancelled from outside, even while its source emits synchronously and no `Subscription` exists yet. Nothing is
 * emitted after `stop`. The source is torn down before `stop` returns or, if it is still being subscribed to, once its subscribe function
 * returns. The source is also torn down before its error or completion is emitted, so that work started in response does not overlap with
 * it.
 */
export class CancellableRun<T> {
  private readonly stopped = new Subject<void>();
  private subscription: Subscription | undefined;
  /** Emits the error or completion of a source that has ended but is not torn down yet. */
  private end: (() => void) | undefined;
  private isOver = false;

  start(source: Observable<T>, observer: Observer<T>): void {
    if (this.isOver) return;
    this.subscription = source.pipe(takeUntil(this.stopped)).subscribe({
      next: (value) => {
        if (!this.isOver) observer.next(value);
      },
      error: (error: unknown) => this.endWith(() => observer.error(error)),
      complete: () => this.endWith(() => observer.complete()),
    });
    this.tearDown();
  }

  /** Cancels the run and drops an end that has not been emitted yet. Has no effect once the end has been emitted. */
  stop(): void {
    this.end = undefined;
    if (this.isOver) return;
    this.isOver = true;
    this.stopped.next();
  }

  private endWith(end: () => void): void {
    if (this.isOver) return;
    this.isOver = true;
    this.end = end;
    this.tearDown();
  }

  /** Tears down an ended source and emits its end, after `subscribe` has returned. */
  private tearDown(): void {
    if (this.subscription === undefined || this.end === undefined) return;
    const end = this.end;
    this.end = undefined;
    try {
      this.subscription.unsubscribe();
    } finally {
      // Like RxJS, emits the end even if a finalizer throws. RxJS also reports the error.
      end();
    }
  }
}
