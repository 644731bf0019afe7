import { firstValueFrom } from 'rxjs';
import { againstEach } from './support/kinds.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const IN_FLIGHT = 512;
const DOWN_MS = 1_000;
/** Number of kills; at most two, because three or more outages within a minute share one grace period (policy/outage). */
const KILLS = { short: 1, full: 2 };

/** A server is killed with many reads in flight. The scenario retry-budget-during-an-outage covers an outage in which all calls fail. */
export const killUnderConcurrency: Scenario = {
  name: 'kill-under-concurrency',
  promise:
    'If a server is killed with 512 reads of one client in flight and restarts 1 s later, no read fails and no retry is refused.',
  bounds: {
    'reads failed': { atMost: 0 },
    'retries refused': { atMost: 0 },
    'retries relative to calls in flight, %': { atLeast: 100 },
    // The tolerance of 10 ms covers the rounding of two processes, which report times in whole milliseconds.
    'shortest downtime, ms': { atLeast: DOWN_MS - 10 },
    'time from first to last arrival of the reads in flight, ms': { atMost: 600, timed: true },
  },
  measure: (run) => againstEach(run, (kind) => kill(run, kind)),
};

async function kill(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const { client, orders } = await startClientOf(run, upstream, outageGrace(run));
  let refused = 0;
  client.events$.subscribe((event) => {
    if (event.type === 'attempt-end' && event.reason === 'throttled') refused += 1;
  });
  const failures: string[] = [];
  const rounds = KILLS[run.length];
  let longestMs = 0;
  const downMs: number[] = [];
  let arrivedWithinMs = 0;
  for (let round = 0; round < rounds; round++) {
    await firstValueFrom(orders.get({ id: 'first' }));
    // The connection has carried a response and is over 1 s old, so its end counts as a lost connection, not a failed connection attempt.
    await reach(() => Date.now() - client.connectivity.since.getTime() > 1_100);
    const before = upstream.arrived('Get').length;
    await upstream.prepareRestart();
    const beganAt = performance.now();
    const calls = Array.from({ length: IN_FLIGHT }, (_, index) =>
      firstValueFrom(orders.get({ id: `${round}-${index}/NEVER/1` })),
    );
    const settled = Promise.allSettled(calls);
    // First attempts get no response, so that only a retry ends a call.
    await reach(() => upstream.arrived('Get').length === before + IN_FLIGHT, { intervalMs: 50 });
    const arrivedAt = upstream
      .arrived('Get')
      .slice(before)
      .map(({ at }) => at);
    arrivedWithinMs = Math.max(arrivedWithinMs, Math.max(...arrivedAt) - Math.min(...arrivedAt));
    const killedAt = Date.now();
    downMs.push((await upstream.restartAfter(DOWN_MS)) - killedAt);
    for (const result of await settled) if (result.status === 'rejected') failures.push(String(result.reason));
    longestMs = Math.max(longestMs, performance.now() - beganAt);
  }
  return {
    calls: rounds * IN_FLIGHT,
    'reads failed': failures.length,
    'retries refused': refused,
    'retries relative to calls in flight, %': (100 * client.snapshot().counters.retried) / (rounds * IN_FLIGHT),
    'shortest downtime, ms': Math.min(...downMs),
    'longest downtime, ms': Math.max(...downMs),
    'time from first to last arrival of the reads in flight, ms': arrivedWithinMs,
    'longest call, ms': longestMs,
    ...(failures[0] !== undefined && { 'first failure': failures[0] }),
  };
}
