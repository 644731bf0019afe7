import { againstEach } from './support/kinds.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';
import type { Upstream } from './support/upstream.js';

const CLIENTS = 2;
/** Against each upstream. */
const CYCLES = { short: 20, full: 1_000 };
/** Long enough in short plays that a busy machine makes a connection and uses it within the age. */
const AGE_MS = { short: 400, full: 100 };
/** Connections end this long before their first response. */
const ANSWER_DELAY_MS = 50;

/** A server that ends each connection at 100 ms, beside one that never does. */
export const shortAndLongConnections: Situation = {
  name: 'short-and-long-connections',
  promise:
    'A server may end each connection after 100 ms, before its first answer, or none for as long as it lives: no call fails, none is sent twice, and a connection that lives is kept.',
  bounds: {
    connections: { atLeast: CYCLES.short },
    failed: { atMost: 0 },
    'sent twice': { atMost: 0 },
    'long-lived connections': { atLeast: 1, atMost: 1 },
    'long-lived failed': { atMost: 0 },
  },
  play: async (run) => {
    const own = await startUpstream(run, { implementation: 'grpc-js', security: 'plain' });
    const kept = reads(run, await startClientOf(run, own), 20);
    // One after the other: a connection has to be made and used within 100 ms, on a busy machine too.
    let measured: Measured = {};
    for (const kind of run.kinds) {
      measured = { ...measured, ...(await againstEach({ ...run, kinds: [kind] }, (one) => shortLived(run, one))) };
    }
    await stop(kept);
    return {
      ...measured,
      ...figuresOf(kept, 'long-lived'),
      'long-lived connections': connectionsTo(own),
    };
  },
};

async function shortLived(run: Run, kind: UpstreamKind): Promise<Measured> {
  const cycles = CYCLES[run.length];
  const ageMs = AGE_MS[run.length];
  const serverOptions = { 'grpc.max_connection_age_ms': ageMs, 'grpc.max_connection_age_grace_ms': 60_000 };
  const upstream = await startUpstream(run, kind, { delayMs: ageMs + ANSWER_DELAY_MS, serverOptions });
  const apps = await Promise.all(
    Array.from({ length: CLIENTS }, () => startClientOf(run, upstream, { outageGraceMs: 60_000 })),
  );
  const loads = apps.flatMap((app) => [reads(run, app, 15), writes(run, app, 15)]);
  await reach(() => connectionsTo(upstream) >= cycles, { timeoutMs: 60_000 + cycles * 600, intervalMs: 50 });
  await Promise.all(loads.map(stop));
  const calls = loads.reduce((sum, one) => sum + one.calls.length, 0);
  const failures = loads.flatMap(({ failed }) => failed);
  return {
    connections: connectionsTo(upstream),
    calls,
    failed: failures.length,
    ...(failures[0] && { 'first failure': String(failures[0].error) }),
    'sent twice': upstream.arrived('Get', 'Create').length - calls,
  };
}

/** How many connections had a request on them. */
function connectionsTo(upstream: Upstream): number {
  return new Set(upstream.arrived('Get', 'Create').map(({ peer }) => peer)).size;
}
