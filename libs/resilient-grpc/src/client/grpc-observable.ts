import { Observable, type Subscriber, type TeardownLogic } from 'rxjs';

/** Opens one call that is read on demand. */
export type OpenIterator<T> = () => AsyncIterableIterator<T>;

/**
 * A cold call. Subscribing makes one call, pushed. `for await` makes one call, pulled with flow control; `break` cancels it.
 * Any `pipe()` gives a plain Observable.
 */
export class GrpcObservable<T> extends Observable<T> implements AsyncIterable<T> {
  constructor(
    subscribe: (subscriber: Subscriber<T>) => TeardownLogic,
    private readonly open: OpenIterator<T>,
  ) {
    super(subscribe);
  }

  /**
   * A lazy iterator: nothing is called before the first `next()`. Nest asks every result for its iterator and throws it away,
   * so making one must cost and start nothing.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this.open();
  }
}
