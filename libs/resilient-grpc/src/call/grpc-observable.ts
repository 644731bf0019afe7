import { Observable, type Subscriber, type TeardownLogic } from 'rxjs';
import { StreamIterator } from './stream-iterator.js';
import type { StreamFactory } from './stream-source.js';

/**
 * A call that starts when it is subscribed to or iterated over. Each subscription starts one call, whose messages are pushed. Each
 * `for await` starts one call that is read with flow control; `break` cancels it. `pipe()` returns a plain Observable.
 */
export class GrpcObservable<T> extends Observable<T> implements AsyncIterable<T> {
  /** Opens a stream that the reader can pause. Operators use it to preserve flow control. @internal */
  readonly openStream: StreamFactory<T>;

  /** @internal Created by the methods of a client. */
  constructor(subscribe: (subscriber: Subscriber<T>) => TeardownLogic, openStream: StreamFactory<T>) {
    super(subscribe);
    this.openStream = openStream;
  }

  /**
   * Returns a lazy iterator: the first `next()` starts the call. To discard a handler result, Nest 12 creates its iterator and calls only
   * `return()`, which must not start a call.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return new StreamIterator(this.openStream);
  }
}
