// Measures the time from a server restart to the next successful call. A server process is killed and replaced many times. All contenders
// call it concurrently, each in a separate process with default options. A contender that has options for restarts also runs in a second
// process, with the best of these options.
import { setTimeout as wait } from 'node:timers/promises';
import { CLIENT_OPTIONS, chosenContenders } from '../contenders.mjs';
import { startContender, startServer } from '../processes.mjs';
import { median, nearestRank } from '../statistics.mjs';

const CALLS_PER_SECOND = 50;
/** Minimum and maximum downtime of the server. The downtimes are evenly distributed between them. */
const MIN_DOWN_MS = 200;
const MAX_DOWN_MS = 800;
/** Golden ratio minus 1. Its first n multiples modulo 1 are evenly distributed for any n, and are the same in each run. */
const STEP = (Math.sqrt(5) - 1) / 2;
/** Time with a running server before each kill. */
const CALM_MS = 100;
/** Maximum recovery time, which is also recorded for a client that received no response. */
const PATIENCE_MS = 20_000;

/** @type {import('../sections.mjs').BenchSection} */
export const recovery = {
  inTable: true,
  defaults: { restarts: 50, ...CLIENT_OPTIONS },
  entriesOf: chosenContenders,
  outlineOf: ({ restarts }) => ({
    question: 'How soon after a server restart do calls succeed again, and what share of calls fails?',
    how: [
      `${String(restarts)} restarts, the server killed and down for ${String(MIN_DOWN_MS)} to ${String(MAX_DOWN_MS)} ms;`,
      `new clients each time, all concurrently, each in a separate process, ${String(CALLS_PER_SECOND)} calls/s each;`,
      'measured from when the new server listens until the first success; p99 is the nearest rank, so with fewer than 100 restarts it is the maximum;',
      'plain: default options; tuned: with retries, waiting, deadlines, keepalive, and a short backoff, where supported',
    ].join(' '),
    varied: { name: 'setup', label: String },
    figures: [
      { name: 'medianMs', title: 'median ms', digits: 0 },
      { name: 'p99Ms', title: 'p99 ms', digits: 0 },
      { name: 'failedPercent', title: '% failed', digits: 1 },
    ],
  }),
  async measure({ entries, restarts }) {
    const callers = await startCallers(entries);
    const executeAll = (command, given) => Promise.all(callers.map(({ child }) => child.execute(command, given)));
    let server = startServer();
    let next = startServer();
    try {
      const { port } = await server.execute('listen', { port: 0 });
      for (let restart = 0; restart < restarts; restart++) {
        const downMs = MIN_DOWN_MS + (MAX_DOWN_MS - MIN_DOWN_MS) * ((restart * STEP) % 1);
        await next.execute('ready');
        // Creates new clients each time, because clients may treat a server that restarts every second as crash-looping.
        await executeAll('beginLoad', { address: `127.0.0.1:${String(port)}`, perSecond: CALLS_PER_SECOND });
        await wait(CALM_MS);
        await server.kill();
        await wait(downMs);
        await executeAll('expectAnswer');
        const answers = callers.map(({ child }) => child.execute('answered'));
        const { atMs } = await next.execute('listen', { port });
        const latest = wait(PATIENCE_MS, atMs + PATIENCE_MS, { ref: false });
        const answeredAt = await Promise.all(answers.map((answer) => Promise.race([answer, latest])));
        const ended = await executeAll('endLoad');
        for (const [index, caller] of callers.entries()) {
          // Counts a negative time as 0: a client can receive its response before the server reads the time at which it started to listen.
          caller.tookMs.push(Math.max(0, answeredAt[index] - atMs));
          caller.calls += ended[index].calls;
          caller.failed += ended[index].failed;
        }
        server = next;
        next = startServer();
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
  },
};

/** Starts two callers per contender that has a tuned setup, otherwise one. */
async function startCallers(entries) {
  const modules = await Promise.all(entries.map(async ({ name, load }) => ({ name, ...(await load()) })));
  return modules.flatMap(({ name, openTuned }) =>
    (openTuned === undefined ? ['plain'] : ['plain', 'tuned']).map((setup) => ({
      contender: name,
      setup,
      child: startContender(name, '', [setup]),
      tookMs: [],
      calls: 0,
      failed: 0,
    })),
  );
}
