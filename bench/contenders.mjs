/**
 * A client under test, open against the server. Its methods are in the style of callbacks because that is the style that
 * adds least to what is measured; each contender is used inside as its own docs say.
 *
 * @typedef {object} Contender
 * @property {(id: string, done: (error: unknown, order?: { id: string }) => void) => void} get One unary call.
 * @property {(request: { count: number, size: number }, onMessage: (chunk: { data: Uint8Array }) => void,
 *   done: (error: unknown) => void) => void} watch One server stream, read to its end.
 * @property {(chunks: Iterable<{ data: Uint8Array }>, done: (error: unknown, received?: { count: number }) => void) =>
 *   void} upload One client stream. What can pull takes from `chunks` as it can send.
 * @property {() => unknown} close Closes what was opened.
 * @property {() => Promise<NodeJS.CpuUsage>} [cpuUsage] Of the process that is measured, where it is not this one.
 */

/**
 * @typedef {object} Entry
 * @property {string} name As in the report.
 * @property {string} package Whose version the report names.
 * @property {() => Promise<{ open(address: string): Contender | Promise<Contender> }>} load
 */

/** All ratios are to this contender. */
export const BASELINE = 'grpc-js';

/**
 * Everybody who takes part, in the order of the report. Loaded only when asked for, so that a profile shows one alone.
 *
 * @type {readonly Entry[]}
 */
export const CONTENDERS = [
  {
    name: 'resilient-grpc',
    package: 'nestjs-resilient-grpc',
    load: () => import('./contenders/resilient-grpc.mjs'),
  },
  {
    name: BASELINE,
    package: '@grpc/grpc-js',
    load: () => import('./contenders/grpc-js.mjs'),
  },
  {
    name: 'nest',
    package: '@nestjs/microservices',
    load: () => import('./contenders/nest.mjs'),
  },
  {
    name: 'nice-grpc',
    package: 'nice-grpc',
    load: () => import('./contenders/nice-grpc.mjs'),
  },
  {
    name: 'connect-node',
    package: '@connectrpc/connect-node',
    load: () => import('./contenders/connect-node.mjs'),
  },
];

/**
 * Not a client: the least that a call on grpc-js's channel can cost. Takes part on demand.
 *
 * @type {Entry}
 */
export const FLOOR = {
  name: 'floor',
  package: '@grpc/grpc-js',
  load: () => import('./contenders/floor.mjs'),
};

/**
 * Ours again, with every policy on. Takes part on demand.
 *
 * @type {Entry}
 */
export const POLICIES = {
  name: 'resilient-grpc-policies',
  package: 'nestjs-resilient-grpc',
  load: () => import('./contenders/resilient-grpc-policies.mjs'),
};

/**
 * Ours with other sizes of grpc-js's retry buffer, which is what requests may run ahead of the wire. They take part on demand.
 *
 * @type {readonly Entry[]}
 */
export const RETRY_BUFFERS = [0, 16, 64, 256, 1_024].map((kib) => ({
  name: `resilient-grpc-${String(kib)}k`,
  package: 'nestjs-resilient-grpc',
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
  package: 'nestjs-resilient-grpc',
  load: async () => (await import('./contenders/telemetry.mjs'))[key],
}));

/** Those who take part on demand. */
export const ON_DEMAND = [FLOOR, POLICIES, ...RETRY_BUFFERS];
