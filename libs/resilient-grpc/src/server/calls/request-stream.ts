import { Observable, Subject, concat, from } from 'rxjs';
import { StatusCode } from '../../status/status-code.js';
import type { ReadableCall } from './wire-call.js';

/**
 * The requests of a method that takes many. `for await` pulls them with flow control, and fails when the caller goes away. Subscribed
 * to, they are pushed as fast as they arrive, to all who have subscribed by then, and complete when the caller goes away, as Nest's
 * do. Nothing is read before, so that guards and interceptors take what time they need. One or the other, once.
 */
export class GrpcRequestStream<T> extends Observable<T> implements AsyncIterable<T> {
  // Hidden: class-transformer copies what it can see of an argument, and would go through all of grpc-js.
  readonly #requests: Requests<T>;

  /** @internal Made for a handler. */
  constructor(call: ReadableCall, served: RequestReader) {
    const requests = new Requests<T>(call, served);
    super((subscriber) => requests.pushed().subscribe(subscriber));
    this.#requests = requests;
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<T> {
    return this.#requests.pulled();
  }

  /** Called by Nest's `@GrpcStreamMethod` when the handler has returned; until then who subscribes gets all there was. @internal */
  drainBuffer(): void {
    this.#requests.handlerReturned();
  }
}

/** The call that is read. */
interface RequestReader {
  readonly callerGone: boolean;
  noteReceived(): void;
  inContext(work: () => void): void;
}

class Requests<T> {
  private readonly subject = new Subject<T>();
  private read: 'pushed' | 'pulled' | undefined;
  /** What was pushed before the handler was called, as to an interceptor; undefined from then on. */
  private early: T[] | undefined = [];

  constructor(
    private readonly call: ReadableCall,
    private readonly served: RequestReader,
  ) {}

  pushed(): Observable<T> {
    if (this.read === 'pulled') throw new Error(READ_TWICE);
    if (this.read === undefined) {
      this.read = 'pushed';
      // Whoever subscribes in the same breath gets the first one too.
      setImmediate(this.push);
    }
    return this.early === undefined || this.early.length === 0 ? this.subject : concat(from(this.early), this.subject);
  }

  handlerReturned(): void {
    // Whoever it is that subscribes to what the handler gave does so in this turn.
    setImmediate(() => {
      this.early = undefined;
    });
  }

  async *pulled(): AsyncGenerator<T, void, undefined> {
    if (this.read !== undefined) throw new Error(READ_TWICE);
    this.read = 'pulled';
    const { call } = this;
    try {
      // The stream is that of the response too, and lives on when its reader has had enough.
      for await (const message of call.iterator({ destroyOnReturn: false })) {
        this.served.noteReceived();
        // True: the deserializer of the method made it.
        yield message as T;
      }
    } catch (error) {
      if (this.served.callerGone) throw new CallerGoneError(error);
      throw error;
    }
    // A connection that is lost may look like the end of the requests. A client on node:http2 that cancels does end them, and resets
    // the stream a moment later: nobody can tell those two by now.
    if (this.served.callerGone) throw new CallerGoneError(undefined);
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
      this.served.inContext(() => {
        subject.next(message);
      });
    });
    const complete = (): void => {
      this.served.inContext(() => {
        subject.complete();
      });
    };
    call.on('end', complete);
    call.on('cancelled', complete);
  };
}

const READ_TWICE = 'The requests of a call can be read once: subscribe to them, or iterate over them';

/** The caller of a method that takes many messages went away, or its deadline passed, before it had sent all of them. */
class CallerGoneError extends Error {
  override readonly name = 'CallerGoneError';
  readonly code = StatusCode.CANCELLED;
  readonly details = 'The caller went away before it had sent all requests';

  constructor(cause: unknown) {
    super('The caller went away before it had sent all requests', { cause });
  }
}
