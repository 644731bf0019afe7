/**
 * A client under test, open against the server. Its methods are in the style of callbacks because that is the style that
 * adds least to what is measured; each contender is used inside as its own docs say.
 *
 * @typedef {object} Contender
 * @property {(id: string, done: (error: unknown, order?: { id: string }) => void) => void} get One unary call.
 * @property {(request: WatchRequest, onMessage: (chunk: Chunk) => void, done: (error: unknown) => void) => void} watch One
 *   server stream, read to its end.
 * @property {(request: WatchRequest, pause: () => Promise<void>) => Promise<void>} read One server stream, by the way there is
 *   to read at one's own pace; what can pull does not take a message while it pauses over the one before.
 * @property {(chunks: Iterable<Chunk>, done: (error: unknown, received?: { count: number }) => void) => void} upload One client
 *   stream. What can pull takes from `chunks` as it can send.
 * @property {(chunks: Iterable<Chunk>, onMessage: (chunk: Chunk) => void, done: (error: unknown) => void) => void} echo One
 *   bidirectional stream, on which each message comes back.
 * @property {() => unknown} close Closes what was opened.
 * @property {() => Promise<NodeJS.CpuUsage>} [cpuUsage] Of the process that is measured, where it is not this one.
 */

/** @typedef {import('./contract.mjs').Chunk} Chunk */
/** @typedef {{ count: number, size: number, stay?: boolean }} WatchRequest */

/**
 * @typedef {object} Entry
 * @property {string} name As in the report.
 * @property {readonly string[]} packages Whose versions the report names, and whose size it gives: those that one installs to
 *   call with it. The first is the contender itself.
 * @property {string} [about] What it is, where its name does not say it.
 * @property {string} [peer] Another contender that does the same work; a second ratio is to it.
 * @property {() => Promise<ContenderModule>} load
 */

/**
 * @typedef {object} ContenderModule
 * @property {(address: string) => Contender | Promise<Contender>} open As it is without options.
 * @property {(address: string) => Contender | Promise<Contender>} [openTuned] Set up against restarts as well as it can be.
 */

/** All ratios are to this contender. It retries what its server has not seen, and has no policy that asks for more. */
export const BASELINE = 'grpc-js';

const GRPC_JS = ['@grpc/grpc-js', '@grpc/proto-loader'];
const RESILIENT_GRPC = ['nestjs-resilient-grpc', ...GRPC_JS];

/**
 * Everybody who takes part, in the order of the report. Loaded only when asked for, so that a profile shows one alone.
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
  // The floor: no client on Node's HTTP/2 can cost less.
  { name: 'http2', packages: [], load: () => import('./contenders/http2.mjs') },
];

/**
 * Not a client: the least that a call on grpc-js's channel can cost. Takes part on demand.
 *
 * @type {Entry}
 */
export const CHANNEL = {
  name: 'grpc-js-channel',
  packages: GRPC_JS,
  load: () => import('./contenders/grpc-js-channel.mjs'),
};

/**
 * Ours again, with the policies of a call, and grpc-js's client with the deadline that is among them. They take part on demand.
 *
 * @type {readonly Entry[]}
 */
export const POLICIES = [
  {
    name: 'resilient-grpc-policies',
    about: 'resilient-grpc with a deadline, retries and their budget, and a breaker',
    packages: RESILIENT_GRPC,
    peer: 'grpc-js-deadline',
    load: () => import('./contenders/resilient-grpc-policies.mjs'),
  },
  {
    name: 'grpc-js-deadline',
    about: 'grpc-js with that deadline alone',
    packages: GRPC_JS,
    load: async () => (await import('./contenders/grpc-js.mjs')).withDeadline,
  },
];

/**
 * Ours with other sizes of grpc-js's retry buffer, which is what requests may run ahead of the wire. They take part on demand.
 *
 * @type {readonly Entry[]}
 */
export const RETRY_BUFFERS = [0, 16, 64, 256, 1_024].map((kib) => ({
  name: `resilient-grpc-${String(kib)}k`,
  packages: RESILIENT_GRPC,
  load: async () => (await import('./contenders/resilient-grpc-retry-buffer.mjs')).withRetryBuffer(kib * 1_024),
}));

/** All ratios of {@link TELEMETRY} are to this one. */
export const UNTOLD = 'no-module';

/**
 * Ours, with those who look on.
 *
 * @type {readonly Entry[]}
 */
export const TELEMETRY = [
  { name: UNTOLD, key: /** @type {const} */ ('nobody') },
  { name: 'module-no-sdk', key: /** @type {const} */ ('withoutSdk') },
  { name: 'events-subscriber', key: /** @type {const} */ ('subscriber') },
  { name: 'sdk-metrics', key: /** @type {const} */ ('withMetrics') },
].map(({ name, key }) => ({
  name,
  packages: RESILIENT_GRPC,
  load: async () => (await import('./contenders/telemetry.mjs'))[key],
}));

/** Those who take part on demand. */
const ON_DEMAND = [CHANNEL, ...POLICIES, ...RETRY_BUFFERS];

/** @param {Entry} entry */
const placeOf = ({ packages }) => CONTENDERS.findIndex((contender) => contender.packages[0] === packages[0]);

/** In the order of the report: those of one package stand together. */
export const ALL_CONTENDERS = [...CONTENDERS, ...ON_DEMAND].sort((one, other) => placeOf(one) - placeOf(other));

/**
 * @param {string} name Of anybody, those of {@link TELEMETRY} too.
 * @returns {Entry | undefined}
 */
export function contenderNamed(name) {
  return [...ALL_CONTENDERS, ...TELEMETRY].find((entry) => entry.name === name);
}
