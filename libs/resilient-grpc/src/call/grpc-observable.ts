import { Observable, type Subscriber, type TeardownLogic } from 'rxjs';
import { StreamIterator } from './stream-iterator.js';
import type { OpenStream } from './stream-source.js';

/**
 * A cold call. Subscribing makes one call, pushed. `for await` makes one call, pulled with flow control; `break` cancels it.
 * Any `pipe()` gives a plain Observable.
 */
export class GrpcObservable<T> extends Observable<T> implements AsyncIterable<T> {
  /** Makes a run whose reader says when he has enough: the seam that keeps flow control across operators. @internal */
  readonly openStream: OpenStream<T>;

  /** @internal Made by a method of a client. */
  constructor(subscribe: (subscriber: Subscriber<T>) => TeardownLogic, openStream: OpenStream<T>) {
    super(subscribe);
    this.openStream = openStream;
  }

  /**
   * A lazy iterator: nothing is called before the first `next()`. Nest asks every result for its iterator and throws it away,
   * so making one must cost and start nothing.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new StreamIterator(this.openStream);
  }
}
