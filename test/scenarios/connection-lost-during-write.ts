import type { GrpcCallError } from 'nestjs-resilient-grpc';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { againstEach } from './support/kinds.js';
import { figuresOf, load, reads, stop } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const CUTS = { short: 8, full: 100 };
/** Minimum number of failed writes. Cuts continue until it is reached, because a cut may occur while no write is in flight. */
const MIN_FAILED_WRITES = 1;
const ITEM = 'tea '.repeat(5_000);

/** Connections that are cut while 20 kB requests are in flight. */
export const connectionLostDuringWrite: Scenario = {
  name: 'connection-lost-during-write',
  promise:
    'If a connection is cut during a write, the write is not resent, and its error states that the write may have reached the server. Reads are resent and succeed.',
  bounds: {
    cuts: { atLeast: CUTS.short },
    'reads failed': { atMost: 0 },
    'writes failed': { atLeast: MIN_FAILED_WRITES },
    'writes failed with another error': { atMost: 0 },
    'writes sent twice': { atMost: 0 },
    'writes acknowledged and lost': { atMost: 0 },
  },
  measure: (run) => againstEach(run, (kind) => cutConnections(run, kind)),
};

async function cutConnections(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind, { delayMs: 10 });
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const app = await startClientOf(run, upstream, { url: proxy.url, ...outageGrace(run) });
  const creates = load(run, 40, (number) => app.orders.create({ requestId: String(number), item: ITEM, quantity: 1 }));
  // Enough successful reads to refill the retry budget for the reads that are lost.
  const gets = reads(run, app, 60);
  await reach(() => creates.succeeded.length > 10);
  // Node 20 misses some resets that coincide with a write over TLS, after which the calls of grpc-js's transport hang.
  const seesResets = kind.security === 'plain' || process.env['NESTJS_RESILIENT_GRPC_TRANSPORT'] !== 'grpc-js';
  let cut = 0;
  while (!run.signal.aborted && (cut < CUTS[run.length] || creates.failed.length < MIN_FAILED_WRITES)) {
    cut += 1;
    const { accepted } = proxy.counters;
    proxy.closeAfterBytes(
      Math.trunc(run.random() * 3 * ITEM.length),
      'to-upstream',
      cut % 2 === 0 && seesResets ? 'rst' : 'fin',
    );
    await reach(() => proxy.counters.accepted > accepted);
    // All calls that were in flight at this cut end before the next cut, even on a slow machine.
    const inFlight = [...gets.open, ...creates.open];
    const answered = creates.succeeded.length + gets.succeeded.length;
    await reach(() => inFlight.every(({ endedAt }) => endedAt !== undefined));
    await reach(() => creates.succeeded.length + gets.succeeded.length > answered + 20);
  }
  await Promise.all([stop(gets), stop(creates)]);
  const arrived = new Set(upstream.arrived('Create').map(({ key }) => key));
  const otherFailures = creates.failed.filter(({ error }) => {
    // The cast is safe because calls fail only with GrpcCallError.
    const { reason, reachedServer } = error as GrpcCallError;
    return reason !== 'connection-lost' || reachedServer === 'no';
  });
  return {
    cuts: cut,
    ...figuresOf(gets, 'reads'),
    ...figuresOf(creates, 'writes'),
    'writes failed with another error': otherFailures.length,
    ...(otherFailures[0] && { 'first other error': String(otherFailures[0].error) }),
    'writes sent twice': upstream.duplicates('Create'),
    'writes acknowledged and lost': creates.succeeded.filter(({ number }) => !arrived.has(String(number))).length,
  };
}
