import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { firstValueFrom } from 'rxjs';
import { aboveDebug, type OrdersApp } from '../support/orders-app.js';
import { CallLoad } from '../support/call-load.js';
import { Feed } from './support/feed.js';
import { againstEach } from './support/kinds.js';
import { stop } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const DEADLINE_MS = 1_000;
const CALLS_PER_SECOND = 20;
const FROZEN_MS = 5_000;

/** One server is frozen, and the connection to another is black-holed. Keepalive is off, which is the default. */
export const stalledAndBlackholedPeer: Scenario = {
  name: 'stalled-and-blackholed-peer',
  promise:
    'A client whose calls have deadlines of 1 s keeps the connection to a server that is frozen for 5 s. The client replaces a black-holed connection within 20 s, and only after the new connection is READY.',
  bounds: {
    'connections replaced after the stall': { atMost: 0 },
    'calls failed later than 1.5 s after the stall': { atMost: 0, timed: true },
    'calls with a deadline of 60 s failed after the stall': { atMost: 0 },
    'connections replaced in the black hole': { atLeast: 1, atMost: 1 },
    'time until the black-holed connection is replaced, ms': { atMost: 20_000, timed: true },
    'times the channel left READY': { atMost: 0 },
    'connections open at the replacement': { atLeast: 2, atMost: 2 },
    'events lost or repeated': { atMost: 0 },
    'calls failed after the replacement': { atMost: 0, timed: true },
    'calls with a deadline of 60 s failed after the replacement': { atMost: 0 },
    'streams (not resumed) failed with reachedServer yes': { atLeast: 1, atMost: 1 },
    'replacements by a new channel': { atLeast: 1, atMost: 1 },
    'log lines about the dead connection': { atLeast: 1, atMost: 1 },
  },
  async measure(run) {
    const [stalled, holed] = await Promise.all([
      againstEach(run, (kind) => freeze(run, kind)),
      againstEach(run, (kind) => blackHole(run, kind)),
    ]);
    return { ...stalled, ...holed };
  },
};

async function freeze(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url });
  const watched = watch(app);
  const load = await startLoad(run, app);
  upstream.freeze();
  await pass(run, FROZEN_MS);
  upstream.thaw();
  await pass(run, 1_500);
  const [failed, failedWithLongDeadline] = await Promise.all([failuresOfNext(load), longDeadlineFailures(app)]);
  await stop(load);
  return {
    'calls with a deadline of 60 s failed after the stall': failedWithLongDeadline,
    'calls failed in total': load.failed.length,
    'calls failed later than 1.5 s after the stall': failed,
    'connections replaced after the stall': watched.replaced + proxy.counters.accepted - 1,
  };
}

async function blackHole(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url });
  let open = 0;
  const watched = watch(app, () => (open = proxy.counters.open));
  const load = await startLoad(run, app);
  const feed = Feed.follow(run, app);
  const hung = bareStream(app);
  await reach(() => feed.events > 0 && hung.events > 0);
  const holeAt = performance.now();
  proxy.holdBytes();
  await reach(() => watched.replaced > 0);
  const replacedAt = performance.now();
  const before = feed.events;
  // The feed that hung on the old connection continues on the new one.
  await reach(() => feed.events > before);
  // The end of the old connection is in the black hole, too, unless its socket was reset.
  proxy.releaseBytes();
  await reach(() => proxy.counters.open === 1);
  const [failed, failedWithLongDeadline] = await Promise.all([failuresOfNext(load), longDeadlineFailures(app)]);
  await stop(load);
  return {
    'time until the black-holed connection is replaced, ms': replacedAt - holeAt,
    'connections replaced in the black hole': watched.replaced,
    'connections open at the replacement': open,
    'times the channel left READY': watched.left,
    'events lost or repeated': feed.lost + feed.repeated,
    'calls failed after the replacement': failed,
    'calls with a deadline of 60 s failed after the replacement': failedWithLongDeadline,
    'streams (not resumed) failed with reachedServer yes': hung.errors.filter(
      ({ reason, reachedServer }) => reason === 'connection-lost' && reachedServer === 'yes',
    ).length,
    'replacements by a new channel': watched.byNewChannel,
    'log lines about the dead connection': aboveDebug(app).filter((line) =>
      line.startsWith('warn: dead connection to '),
    ).length,
  };
}

/** Starts a stream that is not resumed; counts its events and records its error. */
function bareStream({ orders }: OrdersApp): { readonly events: number; readonly errors: readonly GrpcCallError[] } {
  const stream = { events: 0, errors: [] as GrpcCallError[] };
  orders.watch({ from: '0' }).subscribe({
    next: () => (stream.events += 1),
    // The cast is safe because calls fail only with GrpcCallError.
    error: (error: unknown) => stream.errors.push(error as GrpcCallError),
  });
  return stream;
}

/** Counts replaced connections, those replaced by a new channel, and how often the channel left READY. */
function watch({ client }: OrdersApp, onReplaced: () => void = () => undefined) {
  const watched = { replaced: 0, left: 0, byNewChannel: 0 };
  client.events$.subscribe((event) => {
    if (event.type === 'connectivity' && event.from === 'READY') watched.left += 1;
    if (event.type !== 'connection-replaced') return;
    watched.replaced += 1;
    if (event.reason === 'suspicion' && event.by === 'new-channel') watched.byNewChannel += 1;
    onReplaced();
  });
  return watched;
}

async function startLoad(run: Run, { orders }: OrdersApp): Promise<CallLoad> {
  const load = CallLoad.start(CALLS_PER_SECOND, () => orders.get({ id: '1' }, { timeoutMs: DEADLINE_MS }));
  run.onEnd(() => load.stop());
  await reach(() => load.succeeded.length >= 10);
  return load;
}

/** Number of failures among twenty calls with a deadline of 60 s, which suffices on a busy machine. */
async function longDeadlineFailures({ orders }: OrdersApp): Promise<number> {
  const calls = Array.from({ length: 20 }, () => firstValueFrom(orders.get({ id: '1' }, { timeoutMs: 60_000 })));
  return (await Promise.allSettled(calls)).filter(({ status }) => status === 'rejected').length;
}

/** Number of failures among the next twenty calls of `load`. */
async function failuresOfNext(load: CallLoad): Promise<number> {
  const from = load.calls.length;
  const next = () => load.calls.slice(from, from + 20);
  await reach(() => next().length === 20 && next().every(({ endedAt }) => endedAt !== undefined));
  return next().filter(({ error }) => error !== undefined).length;
}
