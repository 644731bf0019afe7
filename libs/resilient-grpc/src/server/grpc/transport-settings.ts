import { totalmem } from 'node:os';
import type { ServerOptions } from '@grpc/grpc-js';
import { MAX_TIMER_MS } from '../../time/clock.js';
import type { ListenerOptions } from '../../transport/socket/server-listener.js';
import { DEFAULT_SERVER_OPTIONS } from '../server-options.js';

/** Channel options that servers on the transport of this library apply; the library takes those of ages from its own options. */
const APPLIED: ReadonlySet<string> = new Set([
  'grpc.max_concurrent_streams',
  'grpc.max_send_message_length',
  'grpc.max_receive_message_length',
  'grpc.max_metadata_size',
  'grpc.keepalive_time_ms',
  'grpc.keepalive_timeout_ms',
  'grpc.max_connection_age_ms',
  'grpc.max_connection_age_grace_ms',
  'grpc.max_connection_idle_ms',
  'grpc.server_call_metric_recording',
  'grpc-node.flow_control_window',
  'grpc-node.tls_enable_trace',
  'interceptors',
]);

/** Windows as in node:http2, which grow with the delay and bandwidth of the client. */
const STREAM_WINDOW = 65_535;
const CONNECTION_WINDOW = 1_048_576;
/** Above what Node's servers accept in practice. */
const MAX_HEADER_LIST_SIZE = 262_144;
/** As in node:http2. */
const HEADER_TABLE_SIZE = 4_096;
/** Stands for no limit. */
const MAX_SETTING = 2 ** 31 - 1;
/** Number of cancelled calls on a connection whose handlers may still run: as many as an honest client cancels at once. */
const MAX_CANCELLED_STREAMS = 10_000;
/** Memory of a connection, and least memory of all connections. */
const MAX_HELD_BYTES = 1_073_741_824;
const MIN_MEMORY_BYTES = 268_435_456;
/** Number of the largest messages that a connection may hold, for limits of messages above the default. */
const HELD_MESSAGES = 16;
/** Share of the memory that the connections of a process may hold. */
const MEMORY_SHARE = 1 / 4;
const HEAD_TIMEOUT_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 120_000;
const DRAIN_TIMEOUT_MS = 2_000;
/** Time within which a client must read something if keepalive does not end its connection earlier. */
const SEND_TIMEOUT_MS = 300_000;

/** Returns the settings of connections from the options of grpc-js's server. By default, pings detect unresponsive clients. */
export function transportSettings(
  options: ServerOptions,
  maxConnections: number,
): Omit<ListenerOptions, 'tls' | 'memory'> {
  const window = options['grpc-node.flow_control_window'];
  const intervalMs = options['grpc.keepalive_time_ms'] ?? DEFAULT_SERVER_OPTIONS.keepaliveTimeMs;
  const timeoutMs = options['grpc.keepalive_timeout_ms'] ?? DEFAULT_SERVER_OPTIONS.keepaliveTimeoutMs;
  const hasKeepalive = intervalMs > 0 && intervalMs < MAX_TIMER_MS;
  const largest = Math.max(maxReceiveBytes(options), maxSendBytes(options) === Infinity ? 0 : maxSendBytes(options));
  return {
    settings: {
      streamWindow: window ?? STREAM_WINDOW,
      connectionWindow: Math.max(window ?? 0, CONNECTION_WINDOW),
      maxHeaderListSize: maxMetadataBytes(options),
      headerTableSize: HEADER_TABLE_SIZE,
      maxConcurrentStreams: Math.min(options['grpc.max_concurrent_streams'] ?? MAX_SETTING, MAX_SETTING),
      maxCancelledStreams: MAX_CANCELLED_STREAMS,
      maxHeldBytes: Math.max(Math.min(MAX_HELD_BYTES, processMemoryBytes()), HELD_MESSAGES * largest),
      // grpc-js tolerates any number of pings.
      minPingIntervalMs: 0,
    },
    keepalive: hasKeepalive ? { intervalMs, timeoutMs } : undefined,
    headTimeoutMs: HEAD_TIMEOUT_MS,
    sendTimeoutMs: hasKeepalive ? Math.min(intervalMs + timeoutMs, MAX_TIMER_MS) : SEND_TIMEOUT_MS,
    drainTimeoutMs: DRAIN_TIMEOUT_MS,
    handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
    maxConnections,
  };
}

/** Maximum size of a request message in bytes; `Infinity` for any. */
export function maxReceiveBytes(options: ServerOptions): number {
  return limitOf(options['grpc.max_receive_message_length'] ?? 4_194_304);
}

/** Maximum size of a response message in bytes; `Infinity` for any. */
export function maxSendBytes(options: ServerOptions): number {
  return limitOf(options['grpc.max_send_message_length'] ?? -1);
}

function maxMetadataBytes(options: ServerOptions): number {
  const bytes: unknown = options['grpc.max_metadata_size'];
  // A smaller value has no effect, as on servers of grpc-js.
  return typeof bytes === 'number'
    ? Math.min(Math.max(bytes, MAX_HEADER_LIST_SIZE), MAX_SETTING)
    : MAX_HEADER_LIST_SIZE;
}

function limitOf(bytes: number): number {
  return bytes === -1 ? Infinity : bytes;
}

/** Returns the bound of the memory that the connections of this process hold together, in bytes. */
export function processMemoryBytes(): number {
  // Absent in older releases of Node, and 0 or huge without a limit.
  const constrained = (process as Partial<typeof process>).constrainedMemory?.() ?? 0;
  const available = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  return Math.max(MEMORY_SHARE * available, MIN_MEMORY_BYTES);
}

/** Returns the names of given channel options that have no meaning on the transport of this library. */
export function optionsWithoutMeaning(given: Readonly<Record<string, unknown>>): readonly string[] {
  const isOff = (name: string): boolean => given[name] === undefined || given[name] === 0;
  return Object.keys(given).filter((name) => name.startsWith('grpc') && !APPLIED.has(name) && !isOff(name));
}
