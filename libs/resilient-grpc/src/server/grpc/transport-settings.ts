import { totalmem } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import type { ServerOptions } from '@grpc/grpc-js';
import { MAX_TIMER_MS } from '../../time/clock.js';
import { HELD_MS } from '../../transport/socket/http2-socket.js';
import { MemoryBudget } from '../../transport/http2/memory-budget.js';
import { STREAM_BYTES } from '../../transport/http2/server-connection.js';
import type { ListenerOptions } from '../../transport/socket/server-listener.js';

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
/** Least limit of concurrent streams, if none is set: a gateway may have thousands, and further ones wait in its client, unseen. */
const MIN_STREAMS = 10_000;
/**
 * Share that the connections of a process may hold of the memory that is left when it begins to listen, and of what is left of V8's heap.
 * The rest is for garbage, for what handlers hold, and for other processes.
 */
const MEMORY_SHARE = 1 / 2;
const HEAP_SHARE = 2 / 5;
/** Memory that V8 lets buffers take that nobody needs any more, before it collects them. */
const GARBAGE_BYTES = 67_108_864;
/** Memory in V8's heap of a connection, and share of what is left of the heap that connections may have apart from their calls. */
const CONNECTION_BYTES = 6_144;
const CONNECTIONS_SHARE = 3 / 10;
/** Least memory, for a process that has used up its container: it should rather serve a few calls than none. */
const MIN_MEMORY_BYTES = 4_194_304;
/** Interval of the pings, and time without an answer after which a connection ends. */
const KEEPALIVE_TIME_MS = 60_000;
const KEEPALIVE_TIMEOUT_MS = 20_000;
const HEAD_TIMEOUT_MS = 10_000;
const HANDSHAKE_TIMEOUT_MS = 120_000;
const DRAIN_TIMEOUT_MS = 2_000;

/** Returns the settings of connections from the options of grpc-js's server. By default, pings detect unresponsive clients. */
export function transportSettings(options: ServerOptions, maxConnections: number): Omit<ListenerOptions, 'tls'> {
  const window = options['grpc-node.flow_control_window'];
  const intervalMs = options['grpc.keepalive_time_ms'] ?? KEEPALIVE_TIME_MS;
  const timeoutMs = options['grpc.keepalive_timeout_ms'] ?? KEEPALIVE_TIMEOUT_MS;
  const hasKeepalive = intervalMs > 0 && intervalMs < MAX_TIMER_MS;
  const memory = processMemory(Math.max(...[maxReceiveBytes(options), maxSendBytes(options)].filter(Number.isFinite)));
  const maxStreams = options['grpc.max_concurrent_streams'] ?? Math.max(MIN_STREAMS, streamsIn(memory) / 2);
  return {
    memory,
    settings: {
      streamWindow: window ?? STREAM_WINDOW,
      connectionWindow: Math.max(window ?? 0, CONNECTION_WINDOW),
      maxHeaderListSize: maxMetadataBytes(options),
      headerTableSize: HEADER_TABLE_SIZE,
      maxConcurrentStreams: Math.min(Math.floor(maxStreams), MAX_SETTING),
      // grpc-js tolerates any number of pings.
      minPingIntervalMs: 0,
    },
    keepalive: hasKeepalive ? { intervalMs, timeoutMs } : undefined,
    headTimeoutMs: HEAD_TIMEOUT_MS,
    sendTimeoutMs: HELD_MS,
    drainTimeoutMs: DRAIN_TIMEOUT_MS,
    handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
    maxConnections: Math.min(maxConnections, Math.floor((CONNECTIONS_SHARE * heapLeft()) / CONNECTION_BYTES)),
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

let budget: MemoryBudget | undefined;

/** Returns the memory for the connections of all servers of this process, which suffices for two messages of `largest` bytes. */
function processMemory(largest: number): MemoryBudget {
  budget ??= newBudget();
  budget.maxBytes = Math.max(budget.maxBytes, 2 * largest);
  return budget;
}

function newBudget(): MemoryBudget {
  const rss = process.memoryUsage.rss();
  // Absent in older releases of Node, and 0 or huge without a limit.
  const constrained = (process as Partial<typeof process>).constrainedMemory?.() ?? 0;
  const total = constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
  const maxBytes = Math.max(MEMORY_SHARE * (total - rss - GARBAGE_BYTES), MIN_MEMORY_BYTES);
  const heapBytes = Math.max(HEAP_SHARE * heapLeft(), MIN_MEMORY_BYTES);
  return new MemoryBudget(maxBytes, Math.max(maxBytes / heapBytes, 1));
}

function heapLeft(): number {
  const { heap_size_limit: limit, used_heap_size: used } = getHeapStatistics();
  return limit - used;
}

function streamsIn({ maxBytes, heapFactor }: MemoryBudget): number {
  return maxBytes / (heapFactor * STREAM_BYTES);
}

/** Returns the names of given channel options that have no meaning on the transport of this library. */
export function optionsWithoutMeaning(given: Readonly<Record<string, unknown>>): readonly string[] {
  const isOff = (name: string): boolean => given[name] === undefined || given[name] === 0;
  return Object.keys(given).filter((name) => name.startsWith('grpc') && !APPLIED.has(name) && !isOff(name));
}
