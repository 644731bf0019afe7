// Measures servers that receive more calls than they can serve. Each run has a new server and a new client process. The client first
// measures the capacity with closed loops, and then sends calls at a multiple of the capacity in an open loop.
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startChild } from '../memory/child.mjs';
import { median } from '../statistics.mjs';

const SERVER = fileURLToPath(new URL('./server-process.mjs', import.meta.url));
const LOAD = fileURLToPath(new URL('./load-process.mjs', import.meta.url));

/** Deadline of the calls in milliseconds. */
const DEADLINE_MS = 1_000;
/** Number of closed loops that measure the capacity. */
const CALLERS = 16;

/**
 * @typedef {object} OverloadPlan
 * @property {'overload'} bench
 * @property {readonly OverloadEntry[]} entries
 * @property {readonly string[]} work Handlers, such as 'sync:5'; see server-process.mjs.
 * @property {readonly number[]} factors Loads as multiples of the capacity.
 * @property {number} rounds
 * @property {number} seconds
 * @property {boolean} json
 */

/**
 * @typedef {object} OverloadEntry
 * @property {string} name
 * @property {'resilient-grpc' | 'nest'} server
 * @property {readonly string[]} packages
 * @property {Readonly<Record<string, unknown>>} [options] Options of the server.
 * @property {boolean} [limits] True if the server limits concurrent handlers. It is then measured only with handlers that wait.
 */

const RESILIENT_GRPC = ['nestjs-resilient-grpc'];

/** @type {readonly OverloadEntry[]} */
export const OVERLOADED_SERVERS = [
  { name: 'resilient-grpc', server: 'resilient-grpc', packages: RESILIENT_GRPC },
  // The limit is slightly above the size of a pool of 10 connections (--work pool:10:MS), so that a call is ready whenever a connection
  // becomes free.
  {
    name: 'limit 16',
    server: 'resilient-grpc',
    packages: RESILIENT_GRPC,
    options: { maxConcurrentCalls: 16 },
    limits: true,
  },
  {
    name: 'adaptive limit',
    server: 'resilient-grpc',
    packages: RESILIENT_GRPC,
    options: { maxConcurrentCalls: 'adaptive' },
    limits: true,
  },
  { name: 'nest', server: 'nest', packages: ['@nestjs/microservices'] },
];

/** Handlers that are measured by default. */
export const OVERLOAD_WORK = ['sync:5'];

/**
 * @param {OverloadPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfOverload({ bench, rounds, seconds }) {
  return {
    bench,
    question: 'How does a server behave if it receives more calls than it can serve?',
    how: [
      `medians of ${String(rounds)} runs of ${String(seconds)} s, deadline ${String(DEADLINE_MS)} ms, open loop from another process;`,
      'goodput: calls answered in time, as a share of the capacity measured in the same run; ran late: handlers that started after the deadline of their call;',
      'p99: duration of the served calls that were sent after the first second; refused: calls that failed with RESOURCE_EXHAUSTED; refusal: median time until such a call failed;',
      'expired: calls that were not answered before their deadline;',
      'lost: calls that failed with UNAVAILABLE or CANCELLED; health p99: duration of health checks; stream gap: longest time between two messages of a response stream;',
      'serves again: time from the end of the load to the first of five consecutive successful responses that each take at most 200 ms',
    ].join(' '),
    varied: { name: 'load', title: 'load', label: String },
    figures: [
      { name: 'goodput', title: 'goodput', digits: 2 },
      { name: 'p99Ms', title: 'p99 ms', digits: 0 },
      { name: 'refused', title: 'refused', digits: 0 },
      { name: 'refusalMs', title: 'refusal ms', digits: 0 },
      { name: 'expired', title: 'expired', digits: 0 },
      { name: 'lost', title: 'lost', digits: 0 },
      { name: 'ranLatePercent', title: '% ran late', digits: 1 },
      { name: 'goodAgainMs', title: 'serves again ms', digits: 0 },
      { name: 'healthP99Ms', title: 'health p99 ms', digits: 0 },
      { name: 'maxGapMs', title: 'stream gap ms', digits: 0 },
    ],
  };
}

/**
 * @param {OverloadPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[]>}
 */
export async function measureOverload({ bench, entries, work, factors, rounds, seconds }) {
  console.error(
    `${bench}: about ${(entries.length * work.length * factors.length * rounds * (seconds + 8)).toFixed(0)} s`,
  );
  const rows = [];
  for (const handler of work) {
    for (const factor of factors) {
      for (const { name, server, options, limits } of entries) {
        if (limits === true && handler.startsWith('sync')) continue;
        /** @type {Awaited<ReturnType<typeof overload>>[]} */
        const runs = [];
        for (let round = 0; round < rounds; round++)
          runs.push(await overload({ server, options, work: handler, factor, seconds, deadlineMs: DEADLINE_MS }));
        rows.push({ contender: name, load: `${handler} x${String(factor)}`, ...mediansOf(runs) });
      }
    }
  }
  return rows;
}

/**
 * Measures the capacity of a new server, and then sends it calls at a multiple of that rate.
 *
 * @param {{
 *   server: OverloadEntry['server'], options?: OverloadEntry['options'], work: string,
 *   factor: number, seconds: number, deadlineMs: number,
 * }} given
 * @returns {Promise<Record<string, number | undefined>>} Figures of `outlineOfOverload`.
 */
export async function overload({ server: name, options = {}, work, factor, seconds, deadlineMs }) {
  const server = startChild(SERVER, [name, work, JSON.stringify(options)]);
  const load = startChild(LOAD);
  try {
    await load.execute('connect', await server.execute('listen'));
    await load.execute('capacity', { seconds: 0.5, inFlight: CALLERS });
    const { perSecond } = await load.execute('capacity', { seconds: 2, inFlight: CALLERS });
    await wait(500);
    await server.execute('counts');
    const offered = { perSecond: perSecond * factor, seconds, deadlineMs, health: name !== 'nest' };
    const result = await load.execute('load', offered);
    const { handled, handledLate } = await server.execute('counts');
    const { goodPerSecond, ...figures } = result;
    return { ...figures, goodput: goodPerSecond / perSecond, ranLatePercent: (100 * handledLate) / handled };
  } finally {
    await load.kill();
    await server.kill();
  }
}

/**
 * @param {readonly Readonly<Record<string, number | undefined>>[]} runs
 * @returns {Record<string, number | undefined>}
 */
function mediansOf(runs) {
  const names = new Set(runs.flatMap((run) => Object.keys(run)));
  return Object.fromEntries(
    [...names].map((name) => {
      const values = runs.flatMap((run) => run[name] ?? []);
      return [name, values.length === 0 ? undefined : median(values)];
    }),
  );
}
