import { againstEach } from './support/kinds.js';
import { startHttp2Proxy } from './support/http2-proxy.js';
import { figuresOf, reads, stop, writes } from './support/load.js';
import { outageGrace, startClientOf, startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const CLIENTS = 2;
/** Minimum number of connections to each server that closes its connections. */
const CYCLES = { short: 50, full: 1_000 };
const AGE_MS = 100;
/** Time after which the next GOAWAY is sent even if the previous one did not reach every client. */
const TURN_MS = 1_000;
/** Delay of each response in milliseconds. Longer than the connection age, so that GOAWAY precedes the first response of a connection. */
const ANSWER_DELAY_MS = 150;

/** A server that closes each connection at a short age, and one that never does. */
export const shortAndLongConnections: Scenario = {
  name: 'short-and-long-connections',
  promise:
    'If a server sends GOAWAY on each connection after 100 ms, before the first response, no call fails or is sent twice. A connection to a server that sends no GOAWAY is kept.',
  bounds: {
    connections: { atLeast: CYCLES.short },
    'calls failed': { atMost: 0 },
    'calls sent twice': { atMost: 0 },
    'long-lived connections': { atLeast: 1, atMost: 1 },
    'long-lived: calls failed': { atMost: 0 },
  },
  measure: async (run) => {
    const own = await startUpstream(run, { implementation: 'grpc-js', security: 'plain' });
    const kept = reads(run, await startClientOf(run, own), 20);
    // The upstream kinds run sequentially, because a connection must be opened and used within 100 ms.
    let measured: Measured = {};
    for (const kind of run.kinds) {
      measured = { ...measured, ...(await againstEach({ ...run, kinds: [kind] }, (one) => shortLived(run, one))) };
    }
    await stop(kept);
    return {
      ...measured,
      ...figuresOf(kept, 'long-lived: calls'),
      'long-lived connections': connectionsTo(own),
    };
  },
};

/**
 * Measures calls to a server that closes its connections at their maximum age and refuses calls that arrive after its GOAWAY. If a busy
 * machine delays the server by more than this age, the server refuses all calls on each new connection until the retry budget is spent.
 * Therefore, if only counts are judged, a proxy sends GOAWAY instead. It does so after a call has arrived, and calls that arrive after the
 * GOAWAY are served.
 */
async function shortLived(run: Run, kind: UpstreamKind): Promise<Measured> {
  const cycles = CYCLES[run.length];
  const age = { 'grpc.max_connection_age_ms': AGE_MS, 'grpc.max_connection_age_grace_ms': 60_000 };
  const upstream = await startUpstream(run, kind, {
    delayMs: ANSWER_DELAY_MS,
    serverOptions: run.which === 'counts' ? {} : age,
  });
  const proxy = run.which === 'counts' ? await startHttp2Proxy(run, upstream) : undefined;
  const settings = { url: proxy?.url ?? upstream.url, ...outageGrace(run) };
  const apps = await Promise.all(Array.from({ length: CLIENTS }, () => startClientOf(run, upstream, settings)));
  const loads = apps.flatMap((app) => [reads(run, app, 15), writes(run, app, 15)]);
  await reach(() => connectionsTo(upstream) >= CLIENTS, { intervalMs: 20 });
  for (let used = CLIENTS; proxy !== undefined && used < cycles; used = connectionsTo(upstream)) {
    proxy.goaway({ lastStreamId: 'none' });
    const sentAt = performance.now();
    // Expects a new connection from each client until `TURN_MS` has passed, and then from at least one client. A client that has no
    // connection receives no GOAWAY, so it replaces no connection.
    const expected = () => used + (performance.now() - sentAt < TURN_MS ? CLIENTS : 1);
    await reach(() => connectionsTo(upstream) >= expected(), { intervalMs: 20 });
  }
  await reach(() => connectionsTo(upstream) >= cycles, { timeoutMs: 60_000 + cycles * 600, intervalMs: 50 });
  await Promise.all(loads.map(stop));
  const calls = loads.reduce((sum, one) => sum + one.calls.length, 0);
  const failures = loads.flatMap(({ failed }) => failed);
  return {
    connections: connectionsTo(upstream),
    calls,
    'calls failed': failures.length,
    ...(failures[0] && { 'first failure': String(failures[0].error) }),
    'calls sent twice': upstream.arrived('Get', 'Create').length - calls,
  };
}

/** Number of connections that carried a request. */
function connectionsTo(upstream: Upstream): number {
  return new Set(upstream.arrived('Get', 'Create').map(({ peer }) => peer)).size;
}
