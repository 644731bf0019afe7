import type { Attempt } from '../../call/attempt.js';
import type { MethodContext } from '../call-context.js';
import { encodeRequest, type CallFailure } from '../call/call-failure.js';
import { StatusCode } from '../../status/status-code.js';
import { RequestBuffer } from './request-buffer.js';
import { messageSource } from './message-source.js';
import { UNSENDABLE, type MessageSource, type MessageTaker } from './message-taker.js';

/** What a message counts that only an interceptor makes sendable. */
const UNKNOWN_MESSAGE_BYTES = 1_024;

/** The call whose requests are pumped. */
export interface PumpOwner {
  /** A message cannot be sent, which ends the call. */
  end(failure: CallFailure): void;
  /** The source failed: its error is the caller's own. */
  sourceFailed(error: unknown): void;
}

/**
 * Takes request messages from their source to the attempt that runs, one at a time behind its callback: grpc-js loses the second
 * of two in flight. A further attempt gets first what the one before was sent.
 */
export class RequestPump implements MessageTaker {
  /** Messages taken from the source and sent. */
  sent = 0;
  private readonly source: MessageSource;
  private readonly buffer: RequestBuffer;
  private attempt: Attempt | undefined;
  /** Of the buffer, what the running attempt was sent. */
  private replayed = 0;
  private pulling = false;
  /** Given by the source while no attempt ran. */
  private pending: { readonly message: unknown; readonly encoded: boolean } | undefined;
  private ended = false;
  private committed = false;
  private closed = false;

  /** @throws TypeError when `input` is no source of messages */
  constructor(
    input: unknown,
    private readonly owner: PumpOwner,
    private readonly context: MethodContext,
    /** Under interceptors messages are sent as they are. */
    private readonly asBytes: boolean,
  ) {
    this.buffer = new RequestBuffer(context.client.replayLimits);
    this.source = messageSource(input, this);
  }

  /** Another attempt would get everything that was sent. */
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

  /** There will be no further attempt. */
  commit(): void {
    this.committed = true;
    // What is not sent again yet still has to be; `pump` drops it then.
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

  get maxQueuedBytes(): number {
    return this.context.policy.maxQueuedRequestBytes;
  }

  encode(message: unknown): unknown {
    if (!this.asBytes) return message;
    const payload = encodeRequest(this.context, message);
    if (payload instanceof Uint8Array) return payload;
    this.owner.end(payload);
    return UNSENDABLE;
  }

  bytesOf(payload: unknown): number {
    if (payload instanceof Uint8Array) return payload.length;
    // Under interceptors it is serialized after them; here only to be counted.
    try {
      return this.context.method.requestSerialize(payload).length;
    } catch {
      return UNKNOWN_MESSAGE_BYTES;
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
    const cure = 'give an AsyncIterable or an Iterable, which is pulled, or raise methods[…].maxQueuedRequestBytes';
    const details = `The Observable of requests is ${String(queuedBytes)} bytes ahead of the wire; ${cure}`;
    this.owner.end({ code: StatusCode.RESOURCE_EXHAUSTED, details, reason: 'requests-overflow' });
  }

  onPushedAtOnce(messages: number): void {
    const { client, method } = this.context;
    if (client.events.wanted) client.events.emit({ type: 'requests-at-once', path: method.path, messages });
  }

  onMessagesEnd(): void {
    this.pulling = false;
    this.ended = true;
    if (this.replayed >= this.buffer.length) this.attempt?.halfClose();
  }

  onMessagesError(error: unknown): void {
    this.pulling = false;
    if (!this.closed) this.owner.sourceFailed(error);
  }

  private pump(): void {
    const { attempt, pending } = this;
    if (attempt === undefined) return;
    const again = this.buffer.at(this.replayed);
    if (again !== undefined) {
      this.replayed += 1;
      this.send(attempt, again);
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

  /** An attempt runs, and has been sent all that others were before it. */
  private wireIsFree(): boolean {
    return this.attempt !== undefined && this.replayed >= this.buffer.length;
  }

  private sendNew(payload: unknown): void {
    const { attempt } = this;
    if (attempt === undefined) return;
    this.sent += 1;
    this.buffer.add(payload);
    this.replayed = this.buffer.length;
    this.send(attempt, payload);
  }

  private send(attempt: Attempt, payload: unknown): void {
    attempt.send(payload, () => {
      if (this.attempt === attempt) this.pump();
    });
  }
}
