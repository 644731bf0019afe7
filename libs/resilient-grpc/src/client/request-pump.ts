import type { Attempt } from '../call/attempt.js';
import { requestSource, type RequestSource, type RequestTaker } from './request-source.js';

/** The call whose requests are pumped. */
export interface PumpOwner {
  /** What is sent for a message; undefined when that failed and ended the call. */
  encode(message: unknown): unknown;
  /** The source failed: its error is the caller's own. */
  sourceFailed(error: unknown): void;
}

type Pending = { readonly message: unknown } | 'end' | undefined;

/**
 * Takes request messages from their source to the attempt that runs, one at a time behind its callback: grpc-js loses the second
 * of two in flight. What the source gives while no attempt runs is kept for the next.
 */
export class RequestPump implements RequestTaker {
  /** Messages that were sent. */
  sent = 0;
  private readonly source: RequestSource;
  private attempt: Attempt | undefined;
  private pulling = false;
  private pending: Pending;
  private closed = false;

  /** @throws TypeError when `input` is no source of messages */
  constructor(
    input: unknown,
    private readonly owner: PumpOwner,
  ) {
    this.source = requestSource(input, this);
  }

  attemptBegan(attempt: Attempt): void {
    this.attempt = attempt;
    this.pump();
  }

  attemptEnded(): void {
    this.attempt = undefined;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.attempt = undefined;
    this.pending = undefined;
    this.source.close();
  }

  onRequest(message: unknown): void {
    this.pulling = false;
    if (this.closed) return;
    const { attempt } = this;
    if (attempt === undefined) {
      this.pending = { message };
      return;
    }
    const payload = this.owner.encode(message);
    if (payload === undefined) return;
    this.sent += 1;
    attempt.send(payload, () => {
      if (this.attempt === attempt) this.pump();
    });
  }

  onRequestsEnd(): void {
    this.pulling = false;
    if (this.attempt === undefined) this.pending = 'end';
    else this.attempt.halfClose();
  }

  onRequestsError(error: unknown): void {
    this.pulling = false;
    if (!this.closed) this.owner.sourceFailed(error);
  }

  private pump(): void {
    const { pending } = this;
    this.pending = undefined;
    if (pending === 'end') this.onRequestsEnd();
    else if (pending !== undefined) this.onRequest(pending.message);
    else if (!this.pulling) {
      this.pulling = true;
      this.source.pull();
    }
  }
}
