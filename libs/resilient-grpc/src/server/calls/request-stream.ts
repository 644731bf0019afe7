import { AsyncResource } from 'node:async_hooks';
import { RpcException } from '@nestjs/microservices';
import { Observable, Subject, type Subscriber, type Subscription } from 'rxjs';
import { StatusCode } from '../../status/status-code.js';
import type { ServedCall } from './served-call.js';
import type { ReadableCall } from './wire-call.js';
import { systemClock } from '../../time/clock.js';

/**
 * Requests of a client-streaming or bidirectional call. `for await` pulls them with flow control, and throws if the caller disconnects or
 * the deadline passes. Subscribers receive requests as fast as they arrive; if the caller disconnects or the deadline passes, the
 * Observable completes, as in Nest. Nothing is read before the first subscription or iteration, so guards and interceptors can take as
 * long as they need. The requests can be read in only one of these two ways, and iterated only once.
 */
export class GrpcRequestStream<T> extends Observable<T> implements AsyncIterable<T> {
  /** @internal Created for a handler; without arguments, by libraries that copy the stream. */
  constructor(call?: ReadableCall, served?: RequestReader) {
    super();
    if (call !== undefined && served !== undefined) Object.assign(this, { source: requestSource<T>(call, served) });
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this.requests.pulled();
  }

  /**
   * Called by Nest's `@GrpcStreamMethod` after the handler has returned. Until then, new subscribers also receive all previous requests.
   * @internal
   */
  drainBuffer(): void {
    this.requests.handlerReturned();
  }

  private get requests(): Requests<T> {
    // The cast is safe: copies share the source that the constructor sets.
    return (Reflect.get<object, string>(this, 'source') as RequestSource<T>).requests;
  }
}

/**
 * The `source` of the stream: a function that returns itself, because pipes may copy the stream. Libraries that copy objects keep functions,
 * and call at most the functions themselves, so that each copy reads the same requests, even a copy that is a plain Observable.
 */
interface RequestSource<T> {
  (): RequestSource<T>;
  readonly requests: Requests<T>;
  subscribe(subscriber: Subscriber<T>): Subscription;
}

function requestSource<T>(call: ReadableCall, served: RequestReader): RequestSource<T> {
  const requests = new Requests<T>(call, served);
  const source: RequestSource<T> = Object.assign(() => source, {
    requests,
    subscribe: (subscriber: Subscriber<T>) => requests.pushed.subscribe(subscriber),
  });
  return source;
}

type RequestReader = Pick<ServedCall, 'isCallerGone' | 'noteReceived'>;

class Requests<T> {
  private readonly subject = new Subject<T>();
  private read: 'pushed' | 'pulled' | undefined;
  /** Requests pushed before the handler returned, for example to an interceptor; `undefined` afterward. */
  private early: T[] | undefined = [];

  constructor(
    private readonly call: ReadableCall,
    private readonly served: RequestReader,
  ) {}

  readonly pushed = new Observable<T>((subscriber) => {
    if (this.read === 'pulled') throw new Error(READ_TWICE);
    if (this.read === undefined) {
      this.read = 'pushed';
      // Deferred, so that all synchronous subscribers receive the first request.
      systemClock.defer(this.push);
    }
    for (const message of this.early ?? []) subscriber.next(message);
    // grpc-js delivers requests in the async context of the connection.
    const context = new AsyncResource('GrpcRequestStream');
    return this.subject.subscribe({
      next: (message) => {
        context.runInAsyncScope(() => {
          subscriber.next(message);
        });
      },
      complete: () => {
        context.runInAsyncScope(() => {
          subscriber.complete();
        });
      },
    });
  });

  handlerReturned(): void {
    // Deferred, because Nest subscribes to the handler's result within this turn, and the result may subscribe to the requests.
    systemClock.defer(() => {
      this.early = undefined;
    });
  }

  async *pulled(): AsyncGenerator<T, void, undefined> {
    if (this.read !== undefined) throw new Error(READ_TWICE);
    this.read = 'pulled';
    const { call } = this;
    try {
      // The stream also carries the response, so it must stay open when the handler stops reading.
      for await (const message of call.iterator({ destroyOnReturn: false })) {
        this.served.noteReceived();
        // The cast is safe: the method's deserializer created the message.
        yield message as T;
      }
    } catch (error) {
      if (this.served.isCallerGone) throw new CallerGoneError(error);
      throw error;
    }
    // A lost connection can look like the end of the requests. When a node:http2 client cancels, it first ends its requests, and then
    // resets the stream. Until the reset arrives, the cancellation cannot be distinguished from a normal end.
    if (this.served.isCallerGone) throw new CallerGoneError(undefined);
  }

  private readonly push = (): void => {
    const { call, subject } = this;
    if (call.cancelled) {
      subject.complete();
      return;
    }
    call.on('data', (message: T) => {
      this.served.noteReceived();
      this.early?.push(message);
      subject.next(message);
    });
    const complete = (): void => {
      subject.complete();
    };
    call.on('end', complete);
    call.on('cancelled', complete);
  };
}

const READ_TWICE = 'The requests of a call can be read only once; either subscribe, or iterate over them once';

const CALLER_GONE = 'The call ended before the caller had sent all requests';

/** Error of a client-streaming or bidirectional call whose caller disconnected, or whose deadline passed, before the last request. */
class CallerGoneError extends RpcException {
  override readonly name = 'CallerGoneError';
  readonly code = StatusCode.CANCELLED;
  readonly details = CALLER_GONE;
  override readonly cause: unknown;

  constructor(cause: unknown) {
    // An RpcException, because Nest logs a plain Error as a failure of the handler, with its stack. A cancelled upload is not a
    // failure.
    super({ code: StatusCode.CANCELLED, details: CALLER_GONE, message: CALLER_GONE });
    this.message = CALLER_GONE;
    this.cause = cause;
  }
}
