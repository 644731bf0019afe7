/** In place of a message that cannot be sent. */
export const UNSENDABLE = Symbol('unsendable');

/** How far a source that pushes is ahead of the wire. */
export interface MessagesAhead {
  /** Of messages that are held and counted, the one included that was pushed now. */
  readonly bytes: number;
  /** Of those, and how many, what was pushed since the wire last took one. */
  readonly bytesSinceTaken: number;
  readonly messagesSinceTaken: number;
  /** When the one that is held longest was pushed, as `now` told; undefined where nobody tells. */
  readonly oldestAt: number | undefined;
}

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
  /** Whether a source that pushes is too far ahead. @defaultValue when more than `maxQueuedBytes` are held */
  isTooFar?(ahead: MessagesAhead): boolean;
  /** Monotonic milliseconds, for who asks how long a message is held. */
  now?(): number;
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
  /** It is not pulled. */
  readonly pushes?: boolean;
  /** Of one that pushes: it has pushed everything, which may not all have been taken. */
  readonly complete?: boolean;
  /** Of one that pushes: it is let go of, and what it has pushed is given before its end. */
  finish?(): void;
  /** Asks for one; the taker hears of it now or later. */
  pull(): void;
  /** Nobody wants more: ends iterators and subscriptions. What it gives ends when the iterator has, where that takes time. */
  close(): Promise<unknown> | undefined;
}
