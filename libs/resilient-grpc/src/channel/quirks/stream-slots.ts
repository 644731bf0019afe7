import { connect, type ClientHttp2Session } from 'node:http2';
import { Duplex } from 'node:stream';
import type { ConnectionTransport } from './connection-record.js';

/** Lowest stream limit that counts as unlimited. Node reports 2^32 − 1 if the server sends no SETTINGS_MAX_CONCURRENT_STREAMS. */
const UNLIMITED = 2 ** 31 - 1;

type LimitedSession = Pick<ClientHttp2Session, 'on'> & Partial<Pick<ClientHttp2Session, 'remoteSettings'>>;

/** Streams of one connection, and the server's limit for them (SETTINGS_MAX_CONCURRENT_STREAMS). */
export interface ConnectionStreams {
  /** Maximum number of concurrent streams; Infinity if the server sets no limit. */
  readonly limit: number;
  /** Number of streams in use. */
  readonly used: number;
  /** Number of streams that can start now. */
  readonly free: number;
  /** Called after each change of `limit`. */
  changed: () => void;
}

/** The streams of a connection of grpc-js. */
export class StreamSlots implements ConnectionStreams {
  /** Maximum number of concurrent streams; Infinity if the server sets no limit. */
  limit = Infinity;
  /** Called after each change of `limit`. */
  changed: () => void = () => undefined;

  constructor(
    /** Calls of all kinds on the connection. */
    private readonly calls: { readonly size: number },
    session: LimitedSession,
  ) {
    this.read(session);
    reportSettings(session);
    session.on('remoteSettings', () => {
      const before = this.limit;
      this.read(session);
      if (this.limit !== before) this.changed();
    });
  }

  /** Number of streams in use. */
  get used(): number {
    return this.calls.size;
  }

  /** Number of streams that can start now; also 0 if the server lowered its limit below the number of streams in use. */
  get free(): number {
    return Math.max(0, this.limit - this.calls.size);
  }

  private read({ remoteSettings }: LimitedSession): void {
    const limit = remoteSettings?.maxConcurrentStreams ?? UNLIMITED;
    this.limit = limit < UNLIMITED ? limit : Infinity;
  }
}

type Listener = (...args: unknown[]) => void;
/** Node's own 'newListener' listener of a session; `null` if it does not exist, `undefined` before the lookup. */
let listenerAdded: Listener | null | undefined;

/**
 * Makes Node emit 'remoteSettings' for further SETTINGS frames on `session`. Node emits the event only after its own 'newListener' listener
 * has detected a listener for the event. grpc-js removes all listeners of the session, including Node's. This function therefore takes
 * Node's listener from a session without a peer, and calls it. If Node's listener is missing, the limit stays at the first value that the
 * server sent.
 */
function reportSettings(session: LimitedSession): void {
  if (listenerAdded === undefined) listenerAdded = readListenerAdded() ?? null;
  listenerAdded?.call(session, 'remoteSettings');
}

function readListenerAdded(): Listener | undefined {
  const socket = new Duplex({ read: () => undefined, write: (_chunk, _encoding, done) => done() });
  const session = connect('http://localhost', { createConnection: () => socket });
  session.on('error', () => undefined);
  // Safe: listeners are functions, and Node calls this listener in the same way.
  const [found] = session.listeners('newListener') as Listener[];
  session.destroy();
  return found;
}

const slots = new WeakMap<object, StreamSlots>();

/**
 * Returns the streams of the connection of `transport`; `undefined` if the connection has closed, or if the installed grpc-js does not
 * expose them.
 */
export function streamSlotsOf(transport: ConnectionTransport): StreamSlots | undefined {
  const known = slots.get(transport);
  if (known !== undefined) return known;
  const { session } = transport;
  const calls = transport.activeCalls as { readonly size?: unknown } | undefined;
  if (session === undefined || session.destroyed || typeof calls?.size !== 'number') return undefined;
  // Safe: the session is a `ClientHttp2Session`, and the type of `size` was checked.
  const found = new StreamSlots(calls as { readonly size: number }, session as unknown as LimitedSession);
  slots.set(transport, found);
  return found;
}
