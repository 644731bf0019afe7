import { isGrpcCallError } from 'nestjs-resilient-grpc';
import { firstValueFrom, Subscription } from 'rxjs';
import { quantile } from '../support/call-load.js';
import { isInstalled } from '../support/programs.js';
import type { OrdersOf } from '../support/orders-app.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { figuresOf, latenciesOf, reads, stop, writes } from './support/load.js';
import { pass } from './support/pass.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario } from './support/scenario.js';
import type { Arrival, Upstream } from './support/upstream.js';

const IMPLEMENTATIONS = ['grpc-js', 'grpcio', 'grpc-go'] as const;
const FEEDS = 500;
const LIMIT = 100;
const LATE_WRITES = 20;
const LOADED_MS = { counts: 1_000, all: 5_000 };
const PER_SECOND = { counts: 20, all: 100 };
const QUIET = { eventsEveryMs: 3_600_000, serverOptions: { 'grpc.max_concurrent_streams': LIMIT } };

/** One client opens 500 feeds and makes unary calls on a grpc-js, grpcio, or grpc-go server that allows 100 streams per connection. */
export const streamLimit: Scenario = {
  name: 'stream-limit',
  promise:
    'If a client with `maxConnectionsPerSubchannel: 6` opens 500 feeds on a server that allows 100 streams per connection, all feeds open within 1 s. No read or write of the same client fails, no write is sent twice, and the p99 of the reads is at most twice that on an unloaded connection. If the client has only one connection, writes that wait until their deadline are not sent, and their errors state this.',
  bounds: {
    'feeds opened': { atLeast: FEEDS },
    'feeds failed': { atMost: 0 },
    'connections opened': { atLeast: 6, atMost: 6 },
    'time until the last feed opens, ms': { atMost: 1_000, timed: true },
    'reads failed': { atMost: 0 },
    'writes failed': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'p99 of reads, relative to that on an unloaded connection': { atMost: 2, timed: true },
    'writes at the limit reported as not executed': { atLeast: LATE_WRITES },
    'writes at the limit executed': { atMost: 0 },
  },
  async measure(run) {
    const parts: Measured[] = [];
    // The implementations run sequentially, because concurrent runs would increase the latencies that are measured.
    for (const implementation of IMPLEMENTATIONS) {
      if (implementation !== 'grpc-js' && !isInstalled(implementation)) continue;
      const measured = Object.entries(await measure(run, implementation));
      parts.push(Object.fromEntries(measured.map(([figure, value]) => [`${figure} @${implementation}`, value])));
    }
    return Object.assign({}, ...parts) as Measured;
  },
};

async function measure(run: Run, implementation: (typeof IMPLEMENTATIONS)[number]): Promise<Measured> {
  const upstream = await startUpstream(run, { implementation, security: 'plain' }, QUIET);
  const free = await startClientOf(run, upstream, outageGrace(run));
  const serviceConfig = { connectionScaling: { maxConnectionsPerSubchannel: 6 } };
  const limited = await startClientOf(run, upstream, { ...outageGrace(run), serviceConfig });
  await firstValueFrom(free.orders.get({ id: 'first' }));
  await firstValueFrom(limited.orders.get({ id: 'first' }));
  const startedAt = Date.now();
  const feeds = openFeeds(run, limited, FEEDS, '1');
  await reach(() => opened(upstream, '1').length === FEEDS, { intervalMs: 20 });
  const lastAt = Math.max(...opened(upstream, '1').map(({ at }) => at));
  const beside = reads(run, limited, PER_SECOND[run.which]);
  const written = writes(run, limited, PER_SECOND[run.which]);
  const alone = reads(run, free, PER_SECOND[run.which]);
  await pass(run, LOADED_MS[run.which]);
  await Promise.all([beside, written, alone].map(stop));
  return {
    'feeds opened': opened(upstream, '1').length,
    'feeds failed': feeds.failed,
    'connections opened': limited.client.snapshot().connections.filter(({ state }) => state === 'READY').length,
    'time until the last feed opens, ms': lastAt - startedAt,
    ...figuresOf(beside, 'reads'),
    ...figuresOf(written, 'writes'),
    'writes sent twice': upstream.duplicates('Create'),
    'p99 of reads, relative to that on an unloaded connection':
      quantile(latenciesOf(beside), 0.99) / quantile(latenciesOf(alone), 0.99),
    ...(await atTheLimit(run, upstream)),
  };
}

function opened(upstream: Upstream, from: string): readonly Arrival[] {
  return upstream.arrived('Watch').filter(({ key }) => key === from);
}

function openFeeds(run: Run, { orders }: OrdersOf, count: number, from: string): { readonly failed: number } {
  const feeds = { failed: 0 };
  const all = new Subscription();
  run.onEnd(() => {
    all.unsubscribe();
  });
  for (let feed = 0; feed < count; feed += 1) {
    all.add(orders.watch({ from }).subscribe({ error: () => (feeds.failed += 1) }));
  }
  return feeds;
}

/** Makes writes while all streams of the only connection are in use, so that the writes wait until their deadline. */
async function atTheLimit(run: Run, upstream: Upstream): Promise<Measured> {
  const client = await startClientOf(run, upstream, outageGrace(run));
  openFeeds(run, client, LIMIT, '2');
  await reach(() => opened(upstream, '2').length === LIMIT, { intervalMs: 20 });
  const before = upstream.arrived('Create').length;
  const failures = await Promise.all(
    Array.from({ length: LATE_WRITES }, (_, number) =>
      firstValueFrom(
        client.orders.create({ requestId: `late-${String(number)}`, item: 'tea', quantity: 1 }, { timeoutMs: 300 }),
      ).then(
        () => 'OK',
        (error: unknown) => (isGrpcCallError(error) ? error.reachedServer : 'another error'),
      ),
    ),
  );
  return {
    'writes at the limit reported as not executed': failures.filter((reached) => reached === 'no').length,
    'writes at the limit executed': upstream.arrived('Create').length - before,
  };
}
