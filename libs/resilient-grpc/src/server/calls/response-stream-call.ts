import { isObservable } from 'rxjs';
import { isAsyncIterable, isIterable, messageSource } from '../../client/requests/message-source.js';
import type { MessageSource, MessagesAhead, MessageTaker } from '../../client/requests/message-taker.js';
import { StatusCode } from '../../status/status-code.js';
import { failureStatus } from './failure-status.js';
import { ServedCall } from './served-call.js';
import type { StatusLike } from './served-method.js';
import { isThenable } from './thenable.js';
import { endStream } from './wire-call.js';

/** What a message counts that cannot be serialized, which its stream learns of when it is its turn. */
const UNKNOWN_MESSAGE_BYTES = 1_024;
/** A client that has taken none of so many messages has stopped reading; one of fewer large ones may only be busy. */
const STOPPED_AFTER_MESSAGES = 128;
/** So has one that has taken none of messages of so many times the bound, however few they are. */
const STOPPED_AFTER_BOUNDS = 16;
/** A client that reads, but is so far behind, will not catch up. */
const BEHIND_MS = 30_000;

/**
 * A call that is answered by a stream. What can be iterated (an `async *handler()`) is pulled as its client reads; an Observable
 * pushes, and what it pushes ahead of its client is held up to a bound. A value that is a stream itself, as an interceptor makes of
 * an iterable, is one after the other.
 */
export class ResponseStreamCall extends ServedCall implements MessageTaker {
  readonly failsInOrder = true;
  /** The one that is read is the last; it stands in one of those before it. */
  private readonly sources: MessageSource[] = [];
  /** The source was asked for a message. */
  private asked = false;
  private pumping = false;
  /** The handler gave its result. */
  private answered = false;
  private ending = false;
  /** What it ends with: known before its client has it. */
  private status: StatusLike | undefined;

  /** @param request the message, or the stream of messages */
  serve(request: unknown): void {
    const { wire } = this;
    if (this.method.kind === 'server-stream') this.received = 1;
    let result: unknown;
    try {
      result = this.method.handler(request, wire.metadata, wire);
    } catch (error) {
      this.failed(error);
      return;
    }
    if (isThenable(result)) result.then(this.begin, this.failed);
    else this.begin(result);
  }

  get maxQueuedBytes(): number {
    return this.method.options.maxQueuedResponseBytes;
  }

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

  /** It was held up to a bound; beyond that only while its client goes on reading, as a client does that is as fast as the wire. */
  isTooFar({ bytesSinceTaken, messagesSinceTaken, oldestAt }: MessagesAhead): boolean {
    const bound = this.maxQueuedBytes;
    const many = messagesSinceTaken > STOPPED_AFTER_MESSAGES || bytesSinceTaken > bound * STOPPED_AFTER_BOUNDS;
    return (bytesSinceTaken > bound && many) || (oldestAt !== undefined && this.now() - oldestAt > BEHIND_MS);
  }

  now(): number {
    return this.host.clock.now();
  }

  defer(task: () => void): void {
    this.host.clock.defer(task);
  }

  onMessage(message: unknown): void {
    this.asked = false;
    if (this.ending || this.over) return;
    if (isMessageStream(message)) {
      this.pull(message);
      return;
    }
    if (message === null) {
      // A stream of Node takes it for its end, and throws.
      this.failed({ code: StatusCode.INTERNAL, details: `The handler of ${this.method.path} emitted null` });
      return;
    }
    this.wire.write(message, this.onTaken);
    this.pump();
  }

  onEncodedMessage(message: unknown): void {
    this.onMessage(message);
  }

  onMessagesEnd(): void {
    this.asked = false;
    if (this.ending || this.over) return;
    this.sources.pop();
    if (this.sources.length > 0) {
      this.pump();
    } else {
      this.ending = true;
      endStream(this.wire);
      this.release();
    }
  }

  onMessagesError(error: unknown): void {
    // Nest's filters see how an Observable fails, and nothing of what is iterated.
    this.fail(error, this.sources.length === 1 && this.sources[0]?.pushes === true);
  }

  onOverflow(bytes: number): void {
    const { path } = this.method;
    if (this.host.events.wanted) this.host.events.emit({ type: 'responses-overflow', path, bytes });
    const cure = 'an async generator is pulled instead (maxQueuedResponseBytes)';
    const details = `The Observable of responses is ${String(bytes)} bytes ahead of its client; ${cure}`;
    this.cut({ code: StatusCode.RESOURCE_EXHAUSTED, details });
  }

  onPushedAtOnce(messages: number): void {
    if (!this.host.events.wanted) return;
    this.host.events.emit({ type: 'responses-at-once', path: this.method.path, messages });
  }

  override get isEnding(): boolean {
    return super.isEnding || this.ending || this.sources.at(-1)?.complete === true;
  }

  override endOk(): void {
    const source = this.sources.at(-1);
    if (this.over || this.sources.length > 1 || source?.pushes !== true) super.endOk();
    else source.finish?.();
  }

  protected override letGo(): void {
    const closing = this.sources
      .splice(0)
      .reverse()
      .map((source) => source.close())
      .filter((end) => end !== undefined);
    // A handler that has not given its result still runs, and so does a generator until it comes to its next `yield`.
    if (closing.length > 0) void Promise.allSettled(closing).then(this.handlerEnded);
    else if (this.answered) this.release();
  }

  protected override send(status: StatusLike): void {
    this.ending = true;
    this.status = status;
    endStream(this.wire, status);
  }

  protected override onWireEnd(): void {
    if (this.ending) this.end(this.status?.code ?? StatusCode.OK);
    else super.onWireEnd();
  }

  private readonly handlerEnded = (): void => {
    this.release();
  };

  /** The client, or its window, has a message. */
  private readonly onTaken = (error?: Error | null): void => {
    if (error !== undefined && error !== null) return;
    this.sent += 1;
    this.lastActivityAt = this.host.clock.now();
    this.pump();
  };

  private readonly begin = (result: unknown): void => {
    this.answered = true;
    if (this.over || this.ending) {
      letGoUnread(result);
      this.release();
      return;
    }
    this.pull(isMessageStream(result) || isObservable(result) ? result : [result]);
  };

  private readonly failed = (error: unknown): void => {
    this.fail(error, true);
  };

  private fail(error: unknown, filtered: boolean): void {
    this.answered = true;
    if (!this.over && !this.ending) {
      this.send(failureStatus(error, this.method.path, this.host.events, filtered));
      this.letGoQuietly();
    }
    this.release();
  }

  private pull(messages: unknown): void {
    let source: MessageSource;
    try {
      // A web stream that is locked cannot be iterated, and says so here.
      source = messageSource(messages, this);
    } catch (error) {
      this.fail(error, false);
      return;
    }
    // Its Observable may have ended the call while it was subscribed to.
    if (this.over || this.ending) {
      void source.close();
      this.release();
      return;
    }
    this.sources.push(source);
    this.pump();
  }

  /** A source that answers at once would else call itself, message by message. */
  private pump(): void {
    if (this.pumping) return;
    this.pumping = true;
    const { wire } = this;
    while (!this.asked && !this.ending && !this.over && wire.writableLength < wire.writableHighWaterMark) {
      const source = this.sources.at(-1);
      if (source === undefined) break;
      this.asked = true;
      source.pull();
    }
    this.pumping = false;
  }
}

/** Nobody will read it: an iterator that is never begun keeps what its handler opened. */
function letGoUnread(result: unknown): void {
  if (!isAsyncIterable(result) || isObservable(result)) return;
  try {
    void Promise.resolve(result[Symbol.asyncIterator]().return?.()).catch(() => undefined);
  } catch {
    // Nor is there anybody to tell.
  }
}

/** Messages one after the other. No message of protobuf can be iterated; bytes can, which may be a message of their own. */
function isMessageStream(value: unknown): boolean {
  return isAsyncIterable(value) || (isIterable(value) && !ArrayBuffer.isView(value));
}
