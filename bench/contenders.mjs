/**
 * A client under test. All methods except `close` and `cpuUsage` take callbacks, because callbacks add the least overhead. Each
 * implementation uses its client as the client's docs recommend.
 *
 * @typedef {object} Contender
 * @property {(id: string, done: (error: unknown, order?: { id: string }) => void) => void} get Makes a unary call.
 * @property {(request: WatchRequest, onMessage: (chunk: Chunk) => void, done: (error: unknown) => void) => void} watch
 *   Reads a server stream to its end.
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
 * @property {readonly string[]} packages The packages to install, whose versions are reported. The first is the contender
 *   itself.
 * @property {string} [about] Explanation of the name.
 * @property {'policies'} [extra] Included only in the unary benchmark.
 * @property {boolean} [canSecure] Included in measurements with TLS.
 * @property {boolean} [isBare] No whole client: it does not reconnect.
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
const ours = () => import('./contenders/resilient-grpc.mjs');
const grpcJs = () => import('./contenders/grpc-js.mjs');

/**
 * The contenders in the order of the report. Each is loaded on demand, so that a process contains only those that it measures.
 *
 * @type {readonly Entry[]}
 */
export const CONTENDERS = [
  { name: 'resilient-grpc', packages: RESILIENT_GRPC, canSecure: true, load: ours },
  {
    name: 'resilient-grpc-policies',
    about: 'resilient-grpc with a deadline, retries with a budget, and a circuit breaker',
    packages: RESILIENT_GRPC,
    extra: 'policies',
    load: async () => (await ours()).withPolicies,
  },
  {
    name: 'engine',
    about: "resilient-grpc's HTTP/2 connection alone",
    packages: RESILIENT_GRPC,
    canSecure: true,
    isBare: true,
    load: () => import('./contenders/engine.mjs'),
  },
  { name: BASELINE, packages: GRPC_JS, canSecure: true, load: grpcJs },
  { name: 'grpc-js-retries', packages: GRPC_JS, load: async () => (await grpcJs()).withRetries },
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
  { name: 'http2', packages: [], canSecure: true, load: () => import('./contenders/http2.mjs') },
];

/** Options of every benchmark that compares clients. */
export const CLIENT_OPTIONS = { only: undefined };

/**
 * The contenders to run: the baseline, and those in `only`, by default all without an `extra` that is not true and, unless `bare`, all that
 * are whole clients.
 *
 * @param {{ only?: readonly string[], policies?: boolean, bare?: boolean, tls?: boolean }} options
 */
export function chosenContenders({ only, policies = false, bare = false, tls = false }) {
  return CONTENDERS.filter(({ name, extra, isBare, canSecure }) => {
    if ((isBare && !bare) || (tls && !canSecure)) return false;
    return name === BASELINE || (only === undefined ? extra === undefined || policies : only.includes(name));
  });
}

/** @param {string} name */
export function contenderNamed(name) {
  const entry = CONTENDERS.find((one) => one.name === name);
  if (entry === undefined) throw new Error(`expected a contender, got ${name}`);
  return entry;
}
