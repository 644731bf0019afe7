// How long after a restart does a client answer again? A server's process is killed and another listens in its place, many times;
// all contenders call it side by side, each as it is without options and as well set up as it can be.
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { Logger } from '@nestjs/common';
import { describeMachine } from '../machine.mjs';
import { startChild } from '../memory/child.mjs';
import { median, quantile } from '../statistics.mjs';
import { Caller } from './caller.mjs';

/** @typedef {import('../contenders.mjs').Entry} Entry */
/** @typedef {{ contender: string, setup: string, tookMs: number[], calls: number, failed: number }} Row */

const SERVER = fileURLToPath(new URL('./server-process.mjs', import.meta.url));

/** The server is away for as long as this, from restart to restart spread evenly between them. */
const SHORTEST_MS = 200;
const LONGEST_MS = 800;
/** Steps of the golden ratio: any number of them is spread evenly, and each run has the same. */
const STEP = (Math.sqrt(5) - 1) / 2;
/** All run in peace for so long before. */
const CALM_MS = 100;
/** Whoever has no answer by then is counted with this. */
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
 * @returns {Promise<import('../report.mjs').Section>}
 */
export async function measureRecovery({ bench, entries, restarts }) {
  console.error(`${bench}: ${String(restarts)} restarts; about ${(restarts * 1.5).toFixed(0)} s`);
  /** @type {Map<string, Row>} */
  const rows = new Map();
  let server = startChild(SERVER);
  let next = startChild(SERVER);
  try {
    const { port } = await server.ask('listen', { port: 0 });
    for (let restart = 0; restart < restarts; restart++) {
      const awayMs = SHORTEST_MS + (LONGEST_MS - SHORTEST_MS) * ((restart * STEP) % 1);
      await next.ask('ready');
      const callers = await openCallers(entries, `127.0.0.1:${String(port)}`);
      try {
        await wait(CALM_MS);
        await server.kill();
        await wait(awayMs);
        const answers = callers.map((caller) => caller.nextAnswer());
        const { atMs } = await next.ask('listen', { port });
        const latest = wait(PATIENCE_MS, atMs + PATIENCE_MS, { ref: false });
        const took = await Promise.all(answers.map(async (answer) => (await Promise.race([answer, latest])) - atMs));
        await Promise.all(callers.map((caller) => caller.end()));
        callers.forEach((caller, index) => {
          addTo(rows, caller, took[index] ?? NaN);
        });
      } finally {
        for (const { contender } of callers) await contender.close();
      }
      server = next;
      next = startChild(SERVER);
    }
  } finally {
    await Promise.all([server.stop(), next.stop()]);
  }
  return {
    bench,
    question: 'How long after a restart of the server does a client answer again, and which calls failed?',
    how: [
      `${String(restarts)} restarts, the server killed and away for ${String(SHORTEST_MS)} to ${String(LONGEST_MS)} ms;`,
      `new clients each time, all side by side, ${String(Caller.PER_SECOND)} calls/s each; from listening to the first answer;`,
      'plain: without options; tuned: with what each has of retries, waiting, deadlines, keepalive and a short backoff',
    ].join(' '),
    machine: describeMachine(entries),
    varied: { name: 'setup', title: 'set up', label: String },
    figures: [
      { name: 'medianMs', title: 'median ms', digits: 0 },
      { name: 'p99Ms', title: 'p99 ms', digits: 0 },
      { name: 'failedPercent', title: '% failed', digits: 1 },
    ],
    rows: [...rows.values()].map(({ contender, setup, tookMs, calls, failed }) => ({
      contender,
      setup,
      medianMs: median(tookMs),
      p99Ms: quantile(tookMs, 0.99),
      failedPercent: (100 * failed) / calls,
    })),
  };
}

/**
 * New ones, each with its first answer: a server that restarts every second would be a crash loop, and clients may know one.
 *
 * @param {readonly Entry[]} entries
 * @param {string} address
 * @returns {Promise<Caller[]>}
 */
async function openCallers(entries, address) {
  const callers = [];
  for (const { name, load } of entries) {
    const { open, openTuned } = await load();
    callers.push(new Caller(name, 'plain', await open(address)));
    if (openTuned) callers.push(new Caller(name, 'tuned', await openTuned(address)));
  }
  // What ours warns of is what is asked here. The start of each application has put a logger in place.
  Logger.overrideLogger(false);
  await Promise.all(callers.map((caller) => caller.begin()));
  return callers;
}

/**
 * @param {Map<string, Row>} rows
 * @param {Caller} caller
 * @param {number} tookMs
 */
function addTo(rows, { name, setup, calls, failed }, tookMs) {
  const key = `${name} ${setup}`;
  const row = rows.get(key) ?? { contender: name, setup, tookMs: [], calls: 0, failed: 0 };
  rows.set(key, row);
  // A client may have its answer before the server has told that it listens.
  row.tookMs.push(Math.max(0, tookMs));
  row.calls += calls;
  row.failed += failed;
}
