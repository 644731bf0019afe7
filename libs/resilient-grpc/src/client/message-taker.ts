/** In place of a message that cannot be sent. */
export const UNSENDABLE = Symbol('unsendable');

/** Takes what a source of messages gives, one thing for each pull. */
export interface MessageTaker {
  /** Bytes of messages that may be pushed ahead of the wire. */
  readonly maxQueuedBytes: number;
  /** An Observable that fails does so behind what it pushed before; else at once. */
  readonly failsInOrder?: boolean;
  /** What is sent of `message`, bytes where they are known; `UNSENDABLE`: it cannot be sent, which has ended the call. */
  encode(message: unknown): unknown;
  /** Bytes on the wire of what `encode` gave. */
  bytesOf(payload: unknown): number;
  /** Runs `task` in the next turn of the event loop. */
  defer(task: () => void): void;
  /** `message` is as `encode` gave it. */
  onEncodedMessage(payload: unknown): void;
  /** A source pushed more than it may. */
  onOverflow(queuedBytes: number): void;
  /** A source pushed this many messages in one turn, and cannot have been slower. */
  onPushedAtOnce(messages: number): void;
  onMessage(message: unknown): void;
  onMessagesEnd(): void;
  onMessagesError(error: unknown): void;
}

/** Messages of one side of a stream, pulled one at a time. */
export interface MessageSource {
  /** Asks for one; the taker hears of it now or later. */
  pull(): void;
  /** Nobody wants more: ends iterators and subscriptions. What it gives ends when the iterator has, where that takes time. */
  close(): Promise<unknown> | undefined;
}
