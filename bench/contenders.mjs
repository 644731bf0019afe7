/**
 * A client under test. All methods except `read`, `close`, and `cpuUsage` take callbacks, because callbacks add the least overhead. Each
 * implementation uses its client as the client's docs recommend.
 *
 * @typedef {object} Contender
 * @property {(id: string, done: (error: unknown, order?: { id: string }) => void) => void} get Makes a unary call.
 * @property {(request: WatchRequest, onMessage: (chunk: Chunk) => void, done: (error: unknown) => void) => void} watch
 *   Reads a server stream to its end.
 * @property {(request: WatchRequest, pause: () => Promise<void>) => Promise<void>} read Reads a server stream and pauses after each
 *   message. A client with flow control reads no message during a pause.
 * @property {(chunks: Iterable<Chunk>, done: (error: unknown, received?: { count: number }) => void) => void} upload Sends a
 *   client stream. A client that pulls requests takes each chunk only when the chunk can be sent.
 * @property {(chunks: Iterable<Chunk>, onMessage: (chunk: Chunk) => void, done: (error: unknown) => void) => void} echo Runs a
 *   bidirectional stream on which the server returns each message.
 * @property {() => unknown} close Closes the client.
 * @property {() => Promise<NodeJS.CpuUsage>} [cpuUsage] CPU usage of the measured process, if it is not this one.
 */

/** @typedef {import('./contract.mjs').Chunk} Chunk */
/** @typedef {{ count: number, size: number, stay?: boolean }} WatchRequest */

/**
 * @typedef {object} Entry
 * @property {string} name Name in the report.
 * @property {readonly string[]} packages The packages to install, whose versions and sizes are reported. The first is the
 *   contender itself.
 * @property {string} [about] Explanation of the name.
 * @property {string} [peer] A contender that does the same work, for a second ratio.
 * @property {() => Promise<ContenderModule>} load
 */

/**
 * @typedef {object} ContenderModule
 * @property {(address: string) => Contender | Promise<Contender>} open Opens the contender.
 * @property {(address: string) => Contender | Promise<Contender>} [openTuned] Opens the contender with the best options for restarts.
 */

/**
 * Name of the contender that is the baseline of the ratios in the unary, stream, upload, and bidi benchmarks. This contender retries only
 * calls that the server has not processed.
 */
export const BASELINE = 'grpc-js';

const GRPC_JS = ['@grpc/grpc-js', '@grpc/proto-loader'];
const RESILIENT_GRPC = ['nestjs-resilient-grpc', ...GRPC_JS];

/**
 * The contenders that run by default, in the order of the report. Each is loaded on demand, so that a profile contains only one.
 *
 * @type {readonly Entry[]}
 */
export const CONTENDERS = [
  { name: 'resilient-grpc', packages: RESILIENT_GRPC, load: () => import('./contenders/resilient-grpc.mjs') },
  { name: BASELINE, packages: GRPC_JS, load: () => import('./contenders/grpc-js.mjs') },
  {
    name: 'grpc-js-retries',
    packages: GRPC_JS,
    load: async () => (await import('./contenders/grpc-js.mjs')).withRetries,
  },
  { name: 'nest', packages: ['@nestjs/microservices', ...GRPC_JS], load: () => import('./contenders/nest.mjs') },
  {
    name: 'nice-grpc',
    packages: ['nice-grpc', 'nice-grpc-client-middleware-retry', ...GRPC_JS],
    load: () => import('./contenders/nice-grpc.mjs'),
  },
  {
    name: 'connect-node',
    packages: ['@connectrpc/connect-node', '@connectrpc/connect', '@bufbuild/protobuf'],
    load: () => import('./contenders/connect-node.mjs'),
  },
  // The lower bound for a client on Node's HTTP/2.
  { name: 'http2', packages: [], load: () => import('./contenders/http2.mjs') },
];

/**
 * The lower bound for calls on grpc-js's channel: the channel without a client. Included on demand.
 *
 * @type {Entry}
 */
export const CHANNEL = {
  name: 'grpc-js-channel',
  packages: GRPC_JS,
  load: () => import('./contenders/grpc-js-channel.mjs'),
};

/**
 * This library with call policies, and grpc-js's client with the same deadline. Included on demand.
 *
 * @type {readonly Entry[]}
 */
export const POLICIES = [
  {
    name: 'resilient-grpc-policies',
    about: 'resilient-grpc with a deadline, retries with a budget, and a circuit breaker',
    packages: RESILIENT_GRPC,
    peer: 'grpc-js-deadline',
    load: () => import('./contenders/resilient-grpc-policies.mjs'),
  },
  {
    name: 'grpc-js-deadline',
    about: 'grpc-js with the same deadline, the peer of resilient-grpc-policies',
    packages: GRPC_JS,
    load: async () => (await import('./contenders/grpc-js.mjs')).withDeadline,
  },
];

/**
 * This library with all calls passing through grpc-js's channel instead of running directly on a connection. Included on demand.
 *
 * @type {Entry}
 */
export const CLASSIC = {
  name: 'resilient-grpc-classic',
  about: "resilient-grpc with all calls passing through grpc-js's channel",
  packages: RESILIENT_GRPC,
  load: () => import('./contenders/resilient-grpc-classic.mjs'),
};

/**
 * This library with several sizes of grpc-js's retry buffer. If a call passes through grpc-js's channel, this size limits how many bytes of
 * its requests are buffered before they are sent. Included on demand.
 *
 * @type {readonly Entry[]}
 */
export const RETRY_BUFFERS = [0, 16, 64, 256, 1_024].map((kib) => ({
  name: `resilient-grpc-${String(kib)}k`,
  packages: RESILIENT_GRPC,
  load: async () => (await import('./contenders/resilient-grpc-retry-buffer.mjs')).withRetryBuffer(kib * 1_024),
}));

/** Name of the contender to which all ratios of {@link TELEMETRY} are relative. */
export const NO_TELEMETRY = 'no-module';

/**
 * This library with different kinds of telemetry.
 *
 * @type {readonly Entry[]}
 */
export const TELEMETRY = [
  { name: NO_TELEMETRY, key: /** @type {const} */ ('withoutModule') },
  { name: 'module-no-sdk', key: /** @type {const} */ ('withoutSdk') },
  { name: 'events-subscriber', key: /** @type {const} */ ('subscriber') },
  { name: 'sdk-metrics', key: /** @type {const} */ ('withMetrics') },
].map(({ name, key }) => ({
  name,
  packages: RESILIENT_GRPC,
  load: async () => (await import('./contenders/telemetry.mjs'))[key],
}));

/** Contenders that are included on demand. */
const ON_DEMAND = [CHANNEL, CLASSIC, ...POLICIES, ...RETRY_BUFFERS];

/** @param {Entry} entry */
const placeOf = ({ packages }) => CONTENDERS.findIndex((contender) => contender.packages[0] === packages[0]);

/** All contenders except those of {@link TELEMETRY}, in the order of the report, grouped by package. */
export const ALL_CONTENDERS = [...CONTENDERS, ...ON_DEMAND].sort((a, b) => placeOf(a) - placeOf(b));

/**
 * @param {string} name Name of any contender, including those of {@link TELEMETRY}.
 * @returns {Entry | undefined}
 */
export function contenderNamed(name) {
  return [...ALL_CONTENDERS, ...TELEMETRY].find((entry) => entry.name === name);
}
