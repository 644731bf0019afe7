import { isObservable } from 'rxjs';
import { isAsyncIterable, isIterable } from '../../call/iterator-source.js';
import { messageSource } from '../../client/requests/request-source.js';
import type { RequestSource, BufferedMessages, MessageConsumer } from '../../client/requests/message-consumer.js';
import { AbortError } from '../../errors/library-error.js';
import { StatusCode } from '../../status/status-code.js';
import { ServedCall } from './served-call.js';
import { endStream, type StatusLike } from './wire-call.js';

/**
 * Bytes of responses that an Observable can push ahead of its client, however slowly the client reads; each message counts as its size plus
 * 128 bytes.
 */
const MAX_QUEUED_RESPONSE_BYTES = 8 * 1024 * 1024;
/** Size counted for a message that cannot be serialized; the stream fails when that message is written. */
const UNKNOWN_MESSAGE_BYTES = 1_024;
/** Bytes pushed since the client last took a message, above which the client counts as not reading: a distant one takes none for a while. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;
/** Age in milliseconds of the oldest buffered message, above which a client is not expected to catch up. */
const MAX_MESSAGE_AGE_MS = 30_000;

/**
 * Server-streaming or bidirectional call. An iterable (an `async *handler()`) is pulled as the client reads. An Observable pushes, and
 * messages ahead of the client are buffered up to a limit. An interceptor can emit a message that is itself an iterable, for example if the
 * handler is a generator. The messages of this iterable are sent one by one.
 */
export class ResponseStreamCall extends ServedCall implements MessageConsumer {
  readonly failsInOrder = true;
  /** Stack of nested sources; the last one is being read. */
  private readonly sources: RequestSource[] = [];
  /** True if a message was requested from the source and has not arrived. */
  private isRequested = false;
  private isPumping = false;
  /** True if the handler has returned its result or failed. */
  private answered = false;
  private ending = false;
  /** Status that `send` sent; `undefined` if the call ended with OK after the last message of its source. */
  private status: StatusLike | undefined;

  readonly maxQueuedBytes = MAX_QUEUED_RESPONSE_BYTES;

  encode(message: unknown): unknown {
    return message;
  }

  bytesOf(message: unknown): number {
    try {
      return this.method.serialize(message).length;
    } catch {
      return UNKNOWN_MESSAGE_BYTES;
    }
  }

  /** True if the client has stopped reading or is too slow to catch up. Called only if the buffer exceeds its limit. */
  exceedsLimit({ bytesSinceTaken, oldestAt }: BufferedMessages): boolean {
    const isTooOld = oldestAt !== undefined && this.now() - oldestAt > MAX_MESSAGE_AGE_MS;
    return isTooOld || bytesSinceTaken > MAX_UNREAD_BYTES;
  }

  now(): number {
    return this.host.runningTime.now();
  }

  defer(task: () => void): void {
    this.host.clock.defer(task);
  }

  onMessage(message: unknown): void {
    this.isRequested = false;
    if (this.ending || this.over) return;
    if (isMessageStream(message)) {
      this.pull(message);
      return;
    }
    if (message === null || message === undefined) {
      this.takeNothing(message);
      return;
    }
    // The handler might have ended the call itself.
    if (!this.wire.writableEnded) this.wire.write(message, this.onTaken);
    this.pump();
  }

  /** Node streams reserve null for their end, and nothing serializes `undefined`. */
  private takeNothing(message: null | undefined): void {
    if (this.wire.writableEnded) {
      // The handler has written to the call itself, ended it, and returned nothing.
      this.ending = true;
      this.release();
      return;
    }
    const details = `The handler of ${this.method.path} emitted ${String(message)}`;
    if (message === undefined && this.host.events.wanted) {
      const remedy = 'return an Observable or an async generator, or end the call before the handler returns';
      this.host.events.emit({ type: 'handler-failed', path: this.method.path, error: `${details}; ${remedy}` });
    }
    this.onError({ code: StatusCode.INTERNAL, details });
  }

  onEncodedMessage(message: unknown): void {
    this.onMessage(message);
  }

  onMessagesEnd(): void {
    this.isRequested = false;
    if (this.ending || this.over) return;
    const source = this.sources.pop();
    if (this.sources.length > 0) {
      this.pump();
    } else {
      this.ending = true;
      const end = (): void => {
        endStream(this.wire, undefined, this.okTrailers);
        this.release();
      };
      // Where an Observable completes, the handler may end the call itself next, with trailers or an error.
      if (source?.pushes === true) process.nextTick(end);
      else end();
    }
  }

  onMessagesError(error: unknown): void {
    // The error counts as filtered only if an Observable is the only source, because Nest's filters receive errors of Observables, but not
    // of iterables.
    this.onError(error, this.sources.length === 1 && this.sources[0]?.pushes === true);
  }

  onOverflow(bytes: number): void {
    const { path } = this.method;
    if (this.host.events.wanted) this.host.events.emit({ type: 'responses-overflow', path, bytes });
    const remedy = 'return an async generator, which is pulled as the client reads';
    const details = `The response Observable is ${String(bytes)} bytes ahead of its client; ${remedy}`;
    this.cut({ code: StatusCode.RESOURCE_EXHAUSTED, details });
  }

  onBuffered(): void {
    this.innermost?.keepResponses(this.sources.at(-1)?.heldBytes ?? 0);
  }

  onBurst(messages: number): void {
    if (!this.host.events.wanted) return;
    this.host.events.emit({ type: 'responses-burst', path: this.method.path, messages });
  }

  override get isEnding(): boolean {
    return super.isEnding || this.ending || this.sources.at(-1)?.complete === true;
  }

  override endOk(): void {
    const source = this.sources.at(-1);
    if (this.over || this.sources.length > 1 || source?.pushes !== true) {
      super.endOk();
    } else {
      source.finish?.();
      this.abortSignal(new AbortError('OK'));
    }
  }

  protected override releaseHandler(): void {
    const closing = this.sources
      .splice(0)
      .reverse()
      .map((source) => source.close())
      .filter((end) => end !== undefined);
    // The handler counts as ended only after it has returned and its closed generators have stopped, each at its next `yield`.
    if (closing.length > 0) {
      void Promise.allSettled(closing).then(() => {
        this.release();
      });
    } else if (this.answered) this.release();
  }

  protected override send(status: StatusLike): void {
    this.ending = true;
    this.status = status;
    endStream(this.wire, this.withTrailers(status), this.okTrailers);
  }

  protected override onWireEnd(): void {
    if (this.ending) this.end(this.status?.code ?? StatusCode.OK);
    else super.onWireEnd();
  }

  /** Called when the client, or its flow-control window, has accepted a message. */
  private readonly onTaken = (error?: Error | null): void => {
    if (error !== undefined && error !== null) return;
    this.sent += 1;
    this.lastActivityAt = this.host.clock.now();
    this.pump();
  };

  protected override onResult(result: unknown): void {
    this.answered = true;
    if (this.over || this.ending) {
      releaseUnread(result);
      this.release();
      return;
    }
    this.pull(isMessageStream(result) || isObservable(result) ? result : [result]);
  }

  protected override onError(error: unknown, filtered = true): void {
    this.answered = true;
    if (!this.over && !this.ending) {
      this.send(this.failureStatus(error, filtered));
      this.releaseHandlerQuietly();
    }
    this.release();
  }

  private pull(messages: unknown): void {
    try {
      // A locked web stream cannot be iterated and throws here.
      const source = messageSource(messages, this);
      this.sources.push(source);
      if (source.pushes === true) this.flushBeforeEnd(source);
      this.pump();
      // Each message is sent when it is emitted, because the handler might write to the call itself, or end it, between two of them.
      source.open?.();
    } catch (error) {
      this.onError(error, false);
    }
  }

  /** Sends what the Observable has emitted before the handler ends the call itself. */
  private flushBeforeEnd(source: RequestSource): void {
    const { wire } = this;
    const end = wire.end.bind(wire);
    wire.end = (trailers) => {
      if (!this.ending) {
        this.isPumping = true;
        source.flush?.();
        this.isPumping = false;
      }
      return end(trailers);
    };
  }

  /** Pulls messages while the client can accept them. The guard prevents recursion by sources that deliver synchronously. */
  private pump(): void {
    if (this.isPumping) return;
    this.isPumping = true;
    const { wire } = this;
    while (!this.isRequested && !this.ending && !this.over && wire.writableLength < wire.writableHighWaterMark) {
      const source = this.sources.at(-1);
      if (source === undefined) break;
      this.isRequested = true;
      source.pull();
    }
    this.isPumping = false;
    if (this.sources.at(-1)?.pushes === true) this.onBuffered();
  }
}

/** Closes a result that is an unread async iterable, because its iterator may hold resources that the handler opened. */
function releaseUnread(result: unknown): void {
  if (!isAsyncIterable(result) || isObservable(result)) return;
  try {
    void Promise.resolve(result[Symbol.asyncIterator]().return?.()).catch(() => undefined);
  } catch {
    // The call is over, so the error is ignored.
  }
}

/** True if the value is an iterable of messages. Protobuf messages are not iterable. A byte array is iterable, but is one message. */
function isMessageStream(value: unknown): boolean {
  return isAsyncIterable(value) || (isIterable(value) && !ArrayBuffer.isView(value));
}
