// Measures servers that receive more calls than they can serve. Each run has a new server and a new client process. The client first
// measures the capacity with closed loops, and then sends calls at a multiple of the capacity in an open loop.
import { setTimeout as wait } from 'node:timers/promises';
import { startChild } from '../child.mjs';
import { median } from '../statistics.mjs';

const SERVER = new URL('../nest-server-process.mjs', import.meta.url);
const LOAD = new URL('../load-process.mjs', import.meta.url);

/** Deadline of the calls in milliseconds. */
const DEADLINE_MS = 1_000;
/** Number of closed loops that measure the capacity. */
const CALLERS = 16;

const OURS = { server: 'resilient-grpc', packages: ['nestjs-resilient-grpc'] };

/** The servers. Those with options limit concurrent handlers, so they are measured only with handlers that wait. */
const OVERLOADED_SERVERS = [
  { name: 'resilient-grpc', ...OURS },
  // The limit is slightly above the size of a pool of 10 connections (--work pool:10:MS), so that a call is ready whenever a connection
  // becomes free.
  { name: 'limit 16', ...OURS, options: { maxConcurrentCalls: 16 } },
  { name: 'adaptive limit', ...OURS, options: { maxConcurrentCalls: 'adaptive' } },
  { name: 'nest', server: 'nest', packages: ['@nestjs/microservices'] },
];

/** @type {import('../sections.mjs').BenchSection} */
export const overloadSection = {
  defaults: { work: ['sync:5'], factors: [3, 10], rounds: 5, seconds: 5 },
  entriesOf: () => OVERLOADED_SERVERS,
  outlineOf: ({ rounds, seconds }) => ({
    question: 'How does a server behave if it receives more calls than it can serve?',
    how: [
      `medians of ${String(rounds)} runs of ${String(seconds)} s, deadline ${String(DEADLINE_MS)} ms, open loop from another process;`,
      'goodput: calls answered in time, as a share of the capacity measured in the same run; ran late: handlers that started after the deadline of their call;',
      'p99: duration of the served calls that were sent after the first second; refused: calls that failed with RESOURCE_EXHAUSTED; refusal: median time until such a call failed;',
      'expired: calls that were not answered before their deadline;',
      'lost: calls that failed with UNAVAILABLE or CANCELLED; health p99: duration of health checks; stream gap: longest time between two messages of a response stream;',
      'serves again: time from the end of the load to the first of five consecutive successful responses that each take at most 200 ms',
    ].join(' '),
    varied: { name: 'load', label: String },
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
  }),
  async measure({ entries, work, factors, rounds, seconds }) {
    const rows = [];
    for (const handler of work) {
      for (const factor of factors) {
        for (const { name, server, options } of entries) {
          if (options !== undefined && handler.startsWith('sync')) continue;
          const runs = [];
          while (runs.length < rounds)
            runs.push(await overload({ server, options, work: handler, factor, seconds, deadlineMs: DEADLINE_MS }));
          rows.push({ contender: name, load: `${handler} x${String(factor)}`, ...mediansOf(runs) });
        }
      }
    }
    return rows;
  },
};

/**
 * Measures the capacity of a new server, and then sends it calls at a multiple of that rate.
 *
 * @param {{
 *   server: 'resilient-grpc' | 'nest', options?: Readonly<Record<string, unknown>>, work: string,
 *   factor: number, seconds: number, deadlineMs: number,
 * }} given
 * @returns {Promise<Record<string, number | undefined>>} The figures of the section.
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
