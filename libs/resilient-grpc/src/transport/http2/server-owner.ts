import type { ConnectionSettings } from './connection.js';
import type { ConnectionOwner } from './events.js';
import type { RequestOwner } from './server-stream.js';

/** Settings and limits of a server's connection. All sizes are in bytes. */
export interface ServerSettings extends ConnectionSettings {
  /** Maximum number of open streams, which the client is told. Further ones are refused; the client may send their calls again. */
  readonly maxConcurrentStreams: number;
  /** Maximum number of streams that have ended, mostly because they were cancelled, and are not released. While there are more, new ones are refused. */
  readonly maxCancelledStreams: number;
  /**
   * Maximum memory for header lists, unread messages, and unsent messages of the connection. Above a quarter of it, one
   * incomplete message at a time gets window. Above all of it, the stream that uses most is reset with ENHANCE_YOUR_CALM; that cannot happen
   * to unread messages if it is at least 4 × (`maxConcurrentStreams` × `streamWindow` + the largest message) + 2 × `connectionWindow`.
   */
  readonly maxHeldBytes: number;
  /** Minimum time between two PINGs of the client without a response between them (gRFC A8), in milliseconds; 0 for any number. */
  readonly minPingIntervalMs: number;
}

/** Receives the events of a server's connection. */
export interface ServerOwner extends ConnectionOwner, RequestOwner {
  /**
   * Further bytes must wait. The owner stops reading its socket and calls `resume()`: in the next turn of the event loop, or, if output is
   * blocked, after `drained()`.
   */
  pause(): void;
}
