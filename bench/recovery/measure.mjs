// Measures the time from a server restart to the next successful call. A server process is killed and replaced many times. All contenders
// call it concurrently, each in a separate process with default options. A contender that has options for restarts also runs in a second
// process, with the best of these options.
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { startChild } from '../memory/child.mjs';
import { median, nearestRank } from '../statistics.mjs';
import { CALLS_PER_SECOND } from './caller.mjs';

/** @typedef {import('../contenders.mjs').Entry} Entry */
/** @typedef {import('../memory/child.mjs').Child} Child */
/** @typedef {{ readonly calls: number, readonly failed: number }} Calls */
/** @typedef {{ contender: string, setup: string, child: Child, tookMs: number[], calls: number, failed: number }} Caller */

const SERVER = fileURLToPath(new URL('./server-process.mjs', import.meta.url));
const CALLER = fileURLToPath(new URL('./caller-process.mjs', import.meta.url));

/** Minimum and maximum downtime of the server. The downtimes are evenly distributed between them. */
const MIN_DOWN_MS = 200;
const MAX_DOWN_MS = 800;
/** Golden ratio minus 1. Its first n multiples modulo 1 are evenly distributed for any n, and are the same in each run. */
const STEP = (Math.sqrt(5) - 1) / 2;
/** Time with a running server before each kill. */
const CALM_MS = 100;
/** Maximum recovery time, which is also recorded for a client that received no response. */
const PATIENCE_MS = 20_000;

/**
 * @typedef {object} RecoveryPlan
 * @property {'recovery'} bench
 * @property {readonly Entry[]} entries
 * @property {number} restarts
 * @property {boolean} json
 */

/**
 * @param {RecoveryPlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfRecovery({ bench, restarts }) {
  return {
    bench,
    question: 'How soon after a server restart do calls succeed again, and what share of calls fails?',
    how: [
      `${String(restarts)} restarts, the server killed and down for ${String(MIN_DOWN_MS)} to ${String(MAX_DOWN_MS)} ms;`,
      `new clients each time, all concurrently, each in a separate process, ${String(CALLS_PER_SECOND)} calls/s each;`,
      'measured from when the new server listens until the first success; p99 is the nearest rank, so with fewer than 100 restarts it is the maximum;',
      'plain: default options; tuned: with retries, waiting, deadlines, keepalive, and a short backoff, where supported',
    ].join(' '),
    varied: { name: 'setup', title: 'setup', label: String },
    figures: [
      { name: 'medianMs', title: 'median ms', digits: 0 },
      { name: 'p99Ms', title: 'p99 ms', digits: 0 },
      { name: 'failedPercent', title: '% failed', digits: 1 },
    ],
  };
}

/**
 * @param {RecoveryPlan} plan
 * @returns {Promise<readonly import('../report.mjs').Row[]>}
 */
export async function measureRecovery({ bench, entries, restarts }) {
  console.error(`${bench}: ${String(restarts)} restarts; about ${(restarts * 2).toFixed(0)} s`);
  const callers = await startCallers(entries);
  let server = startChild(SERVER);
  let next = startChild(SERVER);
  try {
    const { port } = await server.execute('listen', { port: 0 });
    for (let restart = 0; restart < restarts; restart++) {
      const downMs = MIN_DOWN_MS + (MAX_DOWN_MS - MIN_DOWN_MS) * ((restart * STEP) % 1);
      await next.execute('ready');
      // Creates new clients each time, because clients may treat a server that restarts every second as crash-looping.
      await executeAll(callers, 'begin', { address: `127.0.0.1:${String(port)}` });
      await wait(CALM_MS);
      await server.kill();
      await wait(downMs);
      await executeAll(callers, 'expectAnswer');
      const answers = callers.map(({ child }) => child.execute('answered'));
      const { atMs } = await next.execute('listen', { port });
      const latest = wait(PATIENCE_MS, atMs + PATIENCE_MS, { ref: false });
      const answeredAt = await Promise.all(answers.map((answer) => Promise.race([answer, latest])));
      /** @type {readonly Calls[]} */
      const ended = await executeAll(callers, 'end');
      callers.forEach((caller, index) => {
        // Counts a negative time as 0: a client can receive its response before the server reads the time at which it started to listen.
        caller.tookMs.push(Math.max(0, answeredAt[index] - atMs));
        caller.calls += ended[index]?.calls ?? NaN;
        caller.failed += ended[index]?.failed ?? NaN;
      });
      server = next;
      next = startChild(SERVER);
    }
  } finally {
    await Promise.all([server, next, ...callers.map(({ child }) => child)].map((child) => child.stop()));
  }
  return callers.map(({ contender, setup, tookMs, calls, failed }) => ({
    contender,
    setup,
    medianMs: median(tookMs),
    p99Ms: nearestRank(tookMs, 0.99),
    failedPercent: (100 * failed) / calls,
  }));
}

/**
 * @param {readonly Entry[]} entries
 * @returns {Promise<readonly Caller[]>} Two callers per contender that has a tuned setup, otherwise one.
 */
async function startCallers(entries) {
  const modules = await Promise.all(entries.map(async ({ name, load }) => ({ name, ...(await load()) })));
  return modules.flatMap(({ name, openTuned }) =>
    (openTuned === undefined ? ['plain'] : ['plain', 'tuned']).map((setup) => ({
      contender: name,
      setup,
      child: startChild(CALLER, [name, setup]),
      tookMs: [],
      calls: 0,
      failed: 0,
    })),
  );
}

/**
 * @param {readonly Caller[]} callers
 * @param {string} command
 * @param {object} [given]
 * @returns {Promise<any[]>}
 */
function executeAll(callers, command, given) {
  return Promise.all(callers.map(({ child }) => child.execute(command, given)));
}
