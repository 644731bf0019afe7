import { FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { CallLoad } from '../support/call-load.js';
import { aboveDebug, startOrdersApp } from '../support/orders-app.js';
import { shortLivedPeer } from '../support/peers.js';
import { againstEach } from './support/kinds.js';
import { reads, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

/** The fourth experiment of the design. */
export const flap: Situation = {
  name: 'flap',
  promise:
    'A server that kills each connection 5 ms after its SETTINGS for a minute is asked for at most 35, health is down when the grace is over and stays so; that, and a server that comes and goes, is worth at most four lines of the log.',
  bounds: {
    // In 11 s: two, where no call had begun on the first, and one after each backoff of 1, 1.6, 2.6 and 4.1 s, a fifth less at the least.
    connections: { atLeast: 3, atMost: 6 },
    'health after the grace other than down': { atMost: 0 },
    lines: { atLeast: 1, atMost: 4 },
    'times it came': { atLeast: 2 },
    'lines about that': { atLeast: 1, atMost: 4 },
  },
  fullBounds: { connections: { atLeast: 10, atMost: 35 } },
  async play(run) {
    const lengthMs = run.length === 'short' ? 11_000 : 60_000;
    const [dying, coming] = await Promise.all([
      diesAtOnce(run, lengthMs),
      againstEach(run, (kind) => comesAndGoes(run, kind, lengthMs)),
    ]);
    return { seconds: lengthMs / 1_000, ...dying, ...coming };
  },
};

async function diesAtOnce(run: Run, lengthMs: number): Promise<Measured> {
  const peer = await shortLivedPeer(5);
  run.onEnd(() => peer.close());
  const app = await startOrdersApp({ url: peer.url });
  run.onEnd(() => app.close());
  const { client, orders, health } = app;
  const order = { requestId: '1', item: 'tea', quantity: 1 };
  const load = CallLoad.start(50, (number) => (number % 2 === 0 ? orders.create(order) : orders.get({ id: '1' })));
  run.onEnd(() => load.stop());
  const { graceEndsAt } = await waitFor(() => client.connectivity.outage);
  await pass(run, graceEndsAt.getTime() + 20 - Date.now());
  const endsAt = (peer.acceptedAt[0] ?? NaN) + lengthMs;
  let other = 0;
  while (!run.signal.aborted && Date.now() < endsAt) {
    if ((await health.check(client.name))[client.name]?.status !== 'down') other += 1;
    await pass(run, 20);
  }
  return {
    connections: peer.acceptedAt.length,
    'health after the grace other than down': other,
    lines: aboveDebug(app).length,
    'calls failed': load.failed.length,
  };
}

async function comesAndGoes(run: Run, kind: UpstreamKind, lengthMs: number): Promise<Measured> {
  const endsAt = performance.now() + lengthMs;
  const upstream = await startUpstream(run, kind);
  const proxy = await FaultProxy.start(upstream.url);
  run.onEnd(() => proxy.close());
  const app = await startClientOf(run, upstream, { url: proxy.url });
  reads(run, app, 15);
  writes(run, app, 15);
  let times = 0;
  do {
    await pass(run, 1_000 + 1_000 * run.random());
    proxy.refuse();
    proxy.resetAll();
    await waitFor(() => app.client.connectivity.outage);
    // One that is shorter than a second and a half is not told.
    await pass(run, 2_000 + 1_000 * run.random());
    await proxy.forward();
    await waitFor(() => app.client.connectivity.outage === undefined, { timeoutMs: 20_000 });
    times += 1;
  } while (!run.signal.aborted && (times < 2 || performance.now() < endsAt - 5_500));
  return { 'times it came': times, 'lines about that': aboveDebug(app).length };
}
