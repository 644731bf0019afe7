import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { againstEach } from './support/kinds.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const ENDS = 3;

/** A proxy closes connections cleanly while no call is open, like a load balancer or server that closes idle connections. */
export const idleAndWarm: Scenario = {
  name: 'idle-and-warm',
  promise:
    'By default, a channel whose connection was closed stays idle until the next call. A channel with `connections: { warm: true }` connects at startup and after each disconnect.',
  bounds: {
    'connections without a call': { atMost: 0 },
    'warm connections': { atLeast: ENDS + 1, atMost: ENDS + 1 },
    'longest time until a warm connection is ready, ms': { atMost: 1_000, timed: true },
    'calls failed': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => closeBoth(run, kind)),
};

async function closeBoth(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const startProxy = async () => run.closeAtEnd(await FaultProxy.start(upstream.url));
  const [idleProxy, warmProxy] = [await startProxy(), await startProxy()];
  const idle = await startClientOf(run, upstream, { url: idleProxy.url });
  let endedAt = performance.now();
  const warm = await startClientOf(run, upstream, { url: warmProxy.url, connections: { warm: true } });

  const afterMs: number[] = [];
  for (let ends = 0; ends <= ENDS; ends++) {
    await reach(() => warmProxy.counters.accepted === ends + 1 && warm.client.connectivity.state === 'READY');
    afterMs.push(performance.now() - endedAt);
    // The connection must carry a response first, because the early loss of a connection without a response starts an outage.
    await firstValueFrom(warm.orders.get({ id: '1' }));
    endedAt = performance.now();
    if (ends < ENDS) warmProxy.closeAll();
  }
  const beforeFirstCall = idleProxy.counters.accepted;
  await firstValueFrom(idle.orders.get({ id: '1' }));
  idleProxy.closeAll();
  await reach(() => idle.client.connectivity.state === 'IDLE');
  await pass(run, run.length === 'short' ? 1_500 : 20_000);
  const again = idleProxy.counters.accepted - 1;
  const calledAt = performance.now();
  await firstValueFrom(idle.orders.get({ id: '2' }));
  return {
    'connections without a call': beforeFirstCall + again,
    'latency of the next call of the idle channel, ms': performance.now() - calledAt,
    'warm connections': warmProxy.counters.accepted,
    'longest time until a warm connection is ready, ms': Math.max(...afterMs),
    'calls failed': idle.client.snapshot().counters.failed + warm.client.snapshot().counters.failed,
  };
}
