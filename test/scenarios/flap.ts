import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { aboveDebug, startOrdersApp } from '../support/orders-app.js';
import { shortLivedPeer } from '../support/peers.js';
import { againstEach } from './support/kinds.js';
import { load, reads, stop, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';

/** The least of grpc-js's backoffs of 1, 1.6, 2.6, 4.1 and then 5 s: a fifth less. */
const BACKOFFS_MS = [800, 1_280, 2_048, 3_277, 4_000];
/** The client's outage grace. */
const GRACE_MS = { counts: 1_500, all: 5_000 };
/** A connection that lives this long ends an outage. */
const LASTING_MS = 1_000;
const CONNECTIONS = 4;
const TIMES = 2;

/** The fourth experiment of the design. */
export const flap: Situation = {
  name: 'flap',
  promise:
    'A server that kills each connection 5 ms after its SETTINGS for a minute is asked for at most 35, health is down when the grace is over and stays so; that, and a server that comes and goes, is worth at most four lines of the log.',
  bounds: {
    connections: { atLeast: CONNECTIONS },
    // Two at first, where no call had begun on the first one, and one after each backoff.
    'connections sooner than the backoff': { atMost: 0, timed: true },
    // However long an accept was delayed, no two connections in a row come sooner than the shortest backoff.
    'connections more than one each 0.8 s': { atMost: 0 },
    'health after the grace other than down': { atMost: 0 },
    lines: { atLeast: 1, atMost: 4 },
    'times it came': { atLeast: TIMES },
    'lines about that': { atLeast: 1, atMost: 4 },
  },
  fullBounds: { connections: { atLeast: 10, atMost: 35, timed: true } },
  async play(run) {
    const lengthMs = run.length === 'short' ? 0 : 60_000;
    const [dying, coming] = await Promise.all([
      diesAtOnce(run, lengthMs),
      againstEach(run, (kind) => comesAndGoes(run, kind, lengthMs)),
    ]);
    return { ...dying, ...coming };
  },
};

/**
 * Repeats the play if this process was stopped while a connection was open: one that seems to live for a second ends the outage, as it
 * should, and the next outage has a grace and lines of its own.
 */
async function diesAtOnce(run: Run, lengthMs: number): Promise<Measured> {
  for (;;) {
    const { measured, longestLifeMs } = await connectionsThatDie(run, lengthMs);
    if (longestLifeMs < LASTING_MS || run.signal.aborted) return measured;
    run.say(`repeated: a connection lived for ${Math.round(longestLifeMs)} ms`);
  }
}

async function connectionsThatDie(run: Run, lengthMs: number) {
  const peer = await shortLivedPeer(5);
  run.onEnd(() => peer.close());
  const app = await startOrdersApp({ url: peer.url, outageGraceMs: GRACE_MS[run.which] });
  run.onEnd(() => app.close());
  const { client, orders, health } = app;
  let longestLifeMs = 0;
  client.events$.subscribe((event) => {
    if (event.type === 'connection' && event.change === 'ended') longestLifeMs = Math.max(longestLifeMs, event.livedMs);
  });
  const order = { requestId: '1', item: 'tea', quantity: 1 };
  const calls = load(run, 50, (number) => (number % 2 === 0 ? orders.create(order) : orders.get({ id: '1' })));
  const { graceEndsAt } = await reach(() => client.connectivity.outage);
  await pass(run, graceEndsAt.getTime() + 20 - Date.now());
  const endsAt = (peer.acceptedAt[0] ?? NaN) + lengthMs;
  let other = 0;
  // At least one more connection after the grace: health stays down while it is READY.
  const enough = Math.max(CONNECTIONS, peer.acceptedAt.length + 1);
  while (!run.signal.aborted && (Date.now() < endsAt || peer.acceptedAt.length < enough)) {
    if ((await health.check(client.name))[client.name]?.status !== 'down') other += 1;
    await pass(run, 20);
  }
  const { acceptedAt } = peer;
  const [first = NaN] = acceptedAt;
  const seconds = (Date.now() - first) / 1_000;
  const measured = {
    seconds,
    connections: acceptedAt.length,
    'connections sooner than the backoff': acceptedAt.filter((at, index) => at - first < leastMsUntil(index)).length,
    'connections more than one each 0.8 s': Math.max(0, acceptedAt.length - 3 - seconds / 0.8),
    'health after the grace other than down': other,
    lines: aboveDebug(app).length,
    'calls failed': calls.failed.length,
  };
  // A connection that is open has not reported its life yet.
  await reach(() => client.connectivity.state !== 'READY');
  await stop(calls);
  return { measured, longestLifeMs };
}

/** How long after the first connection the one of `index`, from 0, may come at the earliest. */
function leastMsUntil(index: number): number {
  let ms = 0;
  for (let backoff = 0; backoff < index - 1; backoff++) ms += BACKOFFS_MS[backoff] ?? 4_000;
  return ms;
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
    await pass(run, (run.length === 'short' ? 200 : 1_000) * (1 + run.random()));
    proxy.refuse();
    proxy.resetAll();
    await reach(() => app.client.connectivity.outage);
    // One that is shorter than a second and a half is not logged.
    await pass(run, (run.length === 'short' ? 1_600 : 2_000) + 1_000 * run.random());
    await proxy.forward();
    await reach(() => app.client.connectivity.outage === undefined);
    times += 1;
  } while (!run.signal.aborted && (times < TIMES || performance.now() < endsAt - 5_500));
  return { 'times it came': times, 'lines about that': aboveDebug(app).length };
}
