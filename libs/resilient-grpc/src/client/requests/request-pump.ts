import type { Attempt } from '../../call/attempt.js';
import { InterceptedMessage } from '../../call/intercepted-message.js';
import type { MethodContext } from '../call-context.js';
import type { CallFailure } from '../attempts/call-failure.js';
import { MESSAGE_OVERHEAD_BYTES, type ReplayLimits } from '../../policy/replay/replay-ledger.js';
import { StatusCode } from '../../status/status-code.js';
import { messageSource } from './request-source.js';
import { UNSENDABLE, type RequestSource, type MessageConsumer } from './message-consumer.js';

/**
 * Maximum number of bytes of request messages that an Observable can push ahead of the connection, except in one turn of the event loop.
 * Each message counts as its size plus 128 bytes.
 */
const MAX_QUEUED_REQUEST_BYTES = 16 * 1024 * 1024;

/** Assumed size in bytes of a message that becomes serializable only in a grpc-js interceptor. */
const UNKNOWN_MESSAGE_BYTES = 1_024;

export interface PumpCallbacks {
  end(failure: CallFailure): void;
  sourceFailed(error: unknown): void;
}

/**
 * Moves request messages from their source to the running attempt. Each message waits until the attempt reports that the next message may
 * be sent, because grpc-js's channel loses the second of two messages in flight.
 */
export class RequestPump implements MessageConsumer {
  /** Number of messages that were taken from the source and sent. */
  sent = 0;
  private readonly source: RequestSource;
  private readonly buffer: RequestBuffer;
  private attempt: Attempt | undefined;
  /** Number of buffered messages that the running attempt has sent. */
  private replayed = 0;
  private pulling = false;
  /** Message that the source delivered while no attempt was running or while earlier messages were being resent. */
  private pending: { readonly message: unknown; readonly encoded: boolean } | undefined;
  private ended = false;
  private committed = false;
  private closed = false;

  /** @throws TypeError if `input` is not a source of messages */
  constructor(
    input: unknown,
    private readonly callbacks: PumpCallbacks,
    private readonly context: MethodContext,
    /** Returns the bytes of a message, or why it cannot be sent; `undefined` if interceptors receive the messages. */
    private readonly serialize: ((context: MethodContext, message: unknown) => Buffer | CallFailure) | undefined,
  ) {
    this.buffer = new RequestBuffer(context.client.replayLimits);
    this.source = messageSource(input, this);
    this.source.open?.();
  }

  /** True if another attempt can send all previous messages again. */
  get replayable(): boolean {
    return this.buffer.complete;
  }

  attemptBegan(attempt: Attempt): void {
    this.attempt = attempt;
    this.replayed = 0;
    this.pump();
  }

  attemptEnded(): void {
    this.attempt = undefined;
  }

  /** Ends buffering, because there will be no further attempt. */
  commit(): void {
    this.committed = true;
    // Messages that still have to be resent are kept. `pump` drops them afterward.
    if (this.replayed >= this.buffer.length) this.buffer.drop();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.attempt = undefined;
    this.pending = undefined;
    this.buffer.drop();
    void this.source.close();
  }

  readonly maxQueuedBytes = MAX_QUEUED_REQUEST_BYTES;

  encode(message: unknown): unknown {
    if (this.serialize === undefined) return message;
    const payload = this.serialize(this.context, message);
    if (payload instanceof Uint8Array) return payload;
    this.callbacks.end(payload);
    return UNSENDABLE;
  }

  bytesOf(payload: unknown): number {
    // Safe: without interceptors, payloads are bytes.
    if (this.serialize !== undefined) return (payload as Uint8Array).length;
    return this.measure(payload) ?? UNKNOWN_MESSAGE_BYTES;
  }

  /**
   * Returns the serialized size of a message for grpc-js interceptors; `undefined` if it becomes serializable only in an interceptor. The
   * message that is sent is serialized after the interceptors have run, so this serialization only measures it.
   */
  private measure(message: unknown): number | undefined {
    try {
      return this.context.method.requestSerialize(message).length;
    } catch {
      return undefined;
    }
  }

  defer(task: () => void): void {
    this.context.client.clock.defer(task);
  }

  onMessage(message: unknown): void {
    this.pulling = false;
    if (this.closed) return;
    if (!this.wireIsFree()) {
      this.pending = { message, encoded: false };
      return;
    }
    const payload = this.encode(message);
    if (payload !== UNSENDABLE) this.sendNew(payload);
  }

  onEncodedMessage(payload: unknown): void {
    this.pulling = false;
    if (this.closed) return;
    if (this.wireIsFree()) this.sendNew(payload);
    else this.pending = { message: payload, encoded: true };
  }

  onOverflow(queuedBytes: number): void {
    const remedy = 'pass an AsyncIterable or an Iterable, which is pulled';
    const details = `The request Observable is ${String(queuedBytes)} bytes ahead of the connection; ${remedy}`;
    this.callbacks.end({ code: StatusCode.RESOURCE_EXHAUSTED, details, reason: 'requests-overflow' });
  }

  onBurst(messages: number): void {
    const { client, method } = this.context;
    if (client.events.wanted) client.events.emit({ type: 'requests-burst', path: method.path, messages });
  }

  onMessagesEnd(): void {
    this.pulling = false;
    this.ended = true;
    if (this.replayed >= this.buffer.length) this.attempt?.halfClose();
  }

  onMessagesError(error: unknown): void {
    this.pulling = false;
    if (!this.closed) this.callbacks.sourceFailed(error);
  }

  private pump(): void {
    const { attempt, pending } = this;
    if (attempt === undefined) return;
    if (this.replayed < this.buffer.length) {
      this.replayed += 1;
      this.send(attempt, this.buffer.at(this.replayed - 1));
      return;
    }
    if (this.committed) this.buffer.drop();
    if (pending !== undefined) {
      this.pending = undefined;
      if (pending.encoded) this.onEncodedMessage(pending.message);
      else this.onMessage(pending.message);
    } else if (this.ended) {
      attempt.halfClose();
    } else if (!this.pulling) {
      this.pulling = true;
      this.source.pull();
    }
  }

  /** True if an attempt is running and has sent all messages of the previous attempts. */
  private wireIsFree(): boolean {
    return this.attempt !== undefined && this.replayed >= this.buffer.length;
  }

  private sendNew(payload: unknown): void {
    const { attempt } = this;
    if (attempt === undefined) return;
    this.sent += 1;
    let message = payload;
    // Safe: without interceptors, payloads are bytes.
    if (this.serialize !== undefined) this.buffer.add(payload, (payload as Uint8Array).length);
    else if (this.buffer.complete) {
      const bytes = this.measure(payload);
      message = new InterceptedMessage(payload);
      this.buffer.add(message, bytes);
    }
    this.replayed = this.buffer.length;
    this.send(attempt, message);
  }

  private send(attempt: Attempt, payload: unknown): void {
    attempt.send(payload, () => {
      if (this.attempt === attempt) this.pump();
    });
  }
}

/**
 * Messages of a request stream that were sent and may have to be resent. A message that does not fit is sent, but then no message can be
 * resent (gRFC A6, "Memory Management (Buffering)").
 */
class RequestBuffer {
  private readonly messages: unknown[] = [];
  private bytes = 0;
  /** True if the buffer contains all messages that were sent. */
  complete = true;

  constructor(private readonly limits: ReplayLimits) {}

  get length(): number {
    return this.messages.length;
  }

  at(index: number): unknown {
    return this.messages[index];
  }

  /** Adds a message that is being sent. A message that is not serializable yet cannot be buffered, because its size is unknown. */
  add(message: unknown, bytes: number | undefined): void {
    if (!this.complete) return;
    if (bytes === undefined || !this.limits.take(bytes + MESSAGE_OVERHEAD_BYTES, this.bytes)) {
      this.drop();
      return;
    }
    this.messages.push(message);
    this.bytes += bytes + MESSAGE_OVERHEAD_BYTES;
  }

  /** Releases all messages, because the call is committed or has ended, or because a message did not fit. */
  drop(): void {
    this.complete = false;
    this.limits.release(this.bytes);
    this.bytes = 0;
    this.messages.length = 0;
  }
}
