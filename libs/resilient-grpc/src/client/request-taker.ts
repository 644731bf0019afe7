/** In place of a message that cannot be sent. */
export const UNSENDABLE = Symbol('unsendable');

/** Takes what a source of request messages gives, one thing for each pull. */
export interface RequestTaker {
  /** Bytes of request messages that may be pushed ahead of the wire. */
  readonly maxQueuedBytes: number;
  /** What is sent of `message`, bytes where they are known; `UNSENDABLE`: it cannot be sent, which has ended the call. */
  encode(message: unknown): unknown;
  /** Bytes on the wire of what `encode` gave. */
  bytesOf(payload: unknown): number;
  /** Runs `task` in the next turn of the event loop. */
  defer(task: () => void): void;
  /** `message` is as `encode` gave it. */
  onEncodedRequest(payload: unknown): void;
  /** A source pushed more than it may. */
  onOverflow(queuedBytes: number): void;
  /** A source pushed this many messages in one turn, and cannot have been slower. */
  onPushedAtOnce(messages: number): void;
  onRequest(message: unknown): void;
  onRequestsEnd(): void;
  onRequestsError(error: unknown): void;
}

/** Request messages of a streaming method, pulled one at a time. */
export interface RequestSource {
  /** Asks for one; the taker hears of it now or later. */
  pull(): void;
  /** Nobody wants more: ends iterators and subscriptions. */
  close(): void;
}
