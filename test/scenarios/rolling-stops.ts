import { figuresOf, reads, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

const PER_SECOND = { counts: 50, all: 500 };
const CALLS = { counts: 200, all: 10_000 };
/** Minimum number of stops of both servers together. */
const STOPS = { short: 4, full: 20 };
const DELAY_MS = 50;

/** Two grpcio servers are restarted in turn: one ends its calls immediately, and the other lets its calls finish. */
export const rollingStops: Scenario = {
  name: 'rolling-stops',
  needs: ['grpcio'],
  promise:
    'If two grpcio servers (Python) are stopped in turn, one gracefully and one immediately, no read fails, even though the servers end some calls with statuses such as CANCELLED.',
  bounds: {
    stops: { atLeast: STOPS.short },
    reads: { atLeast: CALLS.counts },
    'reads failed': { atMost: 0 },
  },
  measure: stopInTurn,
};

async function stopInTurn(run: Run): Promise<Measured> {
  const kind = { implementation: 'grpcio', security: 'plain' } as const;
  const upstreams = await Promise.all([
    startUpstream(run, kind, { delayMs: DELAY_MS }),
    startUpstream(run, kind, { delayMs: DELAY_MS, drainMs: 0 }),
  ]);
  const [first] = upstreams;
  const app = await startClientOf(run, first, {
    url: `ipv4:${upstreams.map(({ url }) => url).join()}`,
    serviceConfig: { loadBalancingConfig: [{ round_robin: {} }] },
    ...outageGrace(run),
  });
  const gets = reads(run, app, PER_SECOND[run.which]);
  const servedBoth = async () => {
    const before = upstreams.map((upstream) => upstream.arrived('Get').length);
    await reach(() => upstreams.every((upstream, at) => upstream.arrived('Get').length > before[at]! + 10), {
      intervalMs: 100,
    });
  };
  let stops = 0;
  while (!run.signal.aborted && (stops < STOPS[run.length] || gets.calls.length < CALLS[run.which])) {
    await servedBoth();
    await upstreams[stops % 2]!.restartAfter(0, 'terminate');
    stops += 1;
  }
  await stop(gets);
  return { stops, ...figuresOf(gets, 'reads') };
}
