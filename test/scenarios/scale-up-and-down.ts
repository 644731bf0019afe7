import { Replicas, startReplicaClient } from '../support/replicas.js';
import { figuresOf, load, reads, stop, writes } from './support/load.js';
import { outageGrace } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const PER_SECOND = { counts: 50, all: 300 };
const [MIN_REPLICAS, MAX_REPLICAS] = [3, 12];
/** Number of times the deployment grows and shrinks. */
const ROUNDS = { short: 1, full: 5 };

/** A deployment grows from 3 to 12 replicas and shrinks again, under load. Its DNS name lists the current replicas. */
export const scaleUpAndDown: Scenario = {
  name: 'scale-up-and-down',
  promise:
    'If a deployment grows from 3 to 12 replicas and shrinks again, each new replica receives calls (within 2 s if `dnsRefreshMs` is 1,000), no call or stream fails, and no connection ends early.',
  bounds: {
    'new replicas with calls': { atLeast: MAX_REPLICAS - MIN_REPLICAS },
    'longest time until a new replica receives a call, ms': { atMost: 2_000, timed: true },
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'streams failed': { atMost: 0 },
    'connections ended early': { atMost: 0 },
  },
  measure: scales,
};

async function scales(run: Run): Promise<Measured> {
  const replicas = run.closeAtEnd(await Replicas.start(MIN_REPLICAS));
  const { app, ended } = await startReplicaClient(run, replicas, { dnsRefreshMs: 1_000, ...outageGrace(run) });
  const gets = reads(run, app, PER_SECOND[run.which]);
  const creates = writes(run, app, PER_SECOND[run.which]);
  const usedAfterMs: number[] = [];
  let used = 0;
  const feeds = [];
  for (let round = 0; round < ROUNDS[run.length] && !run.signal.aborted; round++) {
    const before = replicas.all.map(({ calls }) => calls);
    await replicas.scale(MAX_REPLICAS);
    const listedAt = performance.now();
    const isUsed = () =>
      replicas.all.slice(MIN_REPLICAS).every(({ calls }, index) => calls > (before[MIN_REPLICAS + index] ?? 0));
    await reach(isUsed, { intervalMs: 5 });
    usedAfterMs.push(performance.now() - listedAt);
    used = replicas.all.slice(MIN_REPLICAS).filter(({ calls }) => calls > 0).length;
    // Opens enough streams for each replica to have at least one.
    const open = load(run, 100, () => app.orders.watch({ from: '1' }));
    feeds.push(open);
    await reach(() => open.calls.length >= 2 * MAX_REPLICAS, { intervalMs: 5 });
    open.pause();
    await replicas.scale(MIN_REPLICAS);
    await reach(() => app.client.snapshot().resolution.addresses === MIN_REPLICAS, { intervalMs: 5 });
    // Makes further calls, so that connections to removed replicas have time to close if they carry no streams.
    const { length } = gets.calls;
    await reach(() => gets.calls.length > length + PER_SECOND[run.which], { intervalMs: 20 });
    replicas.release();
    await stop(open);
  }
  await Promise.all([stop(gets), stop(creates)]);
  return {
    'new replicas with calls': used,
    'longest time until a new replica receives a call, ms': Math.max(...usedAfterMs),
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'streams failed': feeds.reduce((count, { failed }) => count + failed.length, 0),
    'connections ended early': ended(),
  };
}
