import type { HeaderBlock } from '../hpack/header-block.js';
import type { ConnectionSettings } from './connection.js';
import type { ConnectionOwner, StreamReceiver } from './events.js';
import type { ServerStream } from './server-stream.js';

/** Settings and limits of a server's connection. All sizes are in bytes. */
export interface ServerSettings extends ConnectionSettings {
  /** Maximum number of open streams, which the client is told. Further ones are refused; the client may send their calls again. */
  readonly maxConcurrentStreams: number;
  /** Maximum number of streams that were reset and whose owner still works. While there are more, new streams are refused. */
  readonly maxCancelledStreams: number;
  /**
   * Maximum memory for header lists, unread messages, and unsent messages of the connection. Messages that arrive wait in the client above
   * half of it. Above all of it, the stream that uses most is reset with ENHANCE_YOUR_CALM.
   */
  readonly maxHeldBytes: number;
  /** Minimum time between two PINGs of the client without a response between them (gRFC A8), in milliseconds; 0 for any number. */
  readonly minPingIntervalMs: number;
}

/** Receives the events of a server's connection. */
export interface ServerOwner extends ConnectionOwner {
  /**
   * A well-formed request of any method and content has arrived; `isEnd` is true if it has no body. The receiver that is returned gets all
   * further events of the stream. The stream may be answered or cancelled at once. `stream.release()` must follow when the owner's work for
   * it is over, also after `failed()`.
   *
   * If `block.isTooLarge`, fields are missing, so only an error is a correct answer.
   */
  request(stream: ServerStream, block: HeaderBlock, isEnd: boolean): StreamReceiver;
  /**
   * Further bytes must wait. The owner stops reading its socket and calls `resume()`: in the next turn of the event loop, or, if output is
   * blocked, after `drained()`.
   */
  pause(): void;
}
