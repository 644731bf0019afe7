import type { StreamFailure } from '../http2/events.js';
import type { UnreadableMessage } from './message-reader.js';

/** Receives a request, message by message. The last event is `ended()`, `unreadable()`, or `failed()`; only `failed()` follows the others. */
export interface RequestHandler {
  /** @param message own memory */
  message(message: Buffer, isCompressed: boolean): void;
  /** All messages were delivered, and the client sends no more. */
  ended(): void;
  /** The request is not gRPC, or a message exceeds the limit. The stream can still be answered. */
  unreadable(problem: UnreadableMessage): void;
  /** The client has cancelled the call, or the connection has ended. */
  failed(failure: StreamFailure): void;
  /** More responses may be sent. Follows a `send()` that returned false. */
  drained(): void;
}
