import type { IteratorConsumer } from '../../call/iterator-source.js';

/** Result of `encode` for a message that cannot be sent. */
export const UNSENDABLE = Symbol('unsendable');

/** Messages that a push source has buffered ahead of the connection. */
export interface BufferedMessages {
  /** Bytes of the messages that were pushed since a message was last taken, and that count toward the limit. */
  readonly bytesSinceTaken: number;
  /** Value of `now()` when the oldest buffered message was pushed; `undefined` if the consumer has no `now`. */
  readonly oldestAt: number | undefined;
}

/** Receives the messages of a source, one event per pull. An Observable may push any number of messages ahead of the pulls. */
export interface UnlimitedConsumer extends IteratorConsumer<unknown> {
  /** True if an Observable's error is delivered after its buffered messages; otherwise, the error is delivered immediately. */
  readonly failsInOrder?: boolean;
}

/** Consumer that limits how far an Observable may get ahead of the connection. */
export interface MessageConsumer extends UnlimitedConsumer {
  /** Maximum number of counted bytes that a push source may buffer ahead of the connection. */
  readonly maxQueuedBytes: number;
  /** Returns the payload of `message`, serialized or unchanged. Ends the call and returns `UNSENDABLE` if the message cannot be sent. */
  encode(message: unknown): unknown;
  /** Returns the serialized size in bytes of a payload from `encode`. */
  bytesOf(payload: unknown): number;
  /** True if a push source is too far ahead of the connection. Called if a message would exceed `maxQueuedBytes`. @defaultValue true */
  exceedsLimit?(ahead: BufferedMessages): boolean;
  /** Returns monotonic milliseconds, to measure how long a message is buffered. */
  now?(): number;
  defer(task: () => void): void;
  onEncodedMessage(payload: unknown): void;
  /** Called when a push source is too far ahead of the connection. */
  onOverflow(queuedBytes: number): void;
  /** Called at the end of an event-loop turn in which a source has buffered messages. */
  onBuffered?(): void;
  /** Called when a source pushes many messages in one event-loop turn, in which backpressure cannot slow it down. */
  onBurst(messages: number): void;
}

export interface RequestSource {
  /** True if the source pushes messages and buffers them until they are pulled. */
  readonly pushes?: boolean;
  /** Memory of what a push source has buffered, in bytes, roughly. */
  readonly heldBytes?: number;
  /** True if a push source has pushed all its messages. Some of them may still be buffered. */
  readonly complete?: boolean;
  /** Subscribes to a push source. If a message was requested before, messages are delivered while the source emits them. */
  open?(): void;
  /** Delivers what a push source has buffered. */
  flush?(): void;
  /** Unsubscribes from a push source. Buffered messages are delivered before the end. */
  finish?(): void;
  /** Requests one message. The consumer receives it now or later. */
  pull(): void;
  /** Ends the iterator or subscription. The promise settles when an asynchronous iterator has ended. */
  close(): Promise<unknown> | undefined;
}
