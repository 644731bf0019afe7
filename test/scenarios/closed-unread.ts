import { spawn } from 'node:child_process';
import { firstValueFrom } from 'rxjs';
import type { OrdersOf } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { startClientOf, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Situation, UpstreamKind } from './support/situation.js';
import type { Upstream } from './support/upstream.js';

const CLIENTS = 4;
const ROUNDS = { short: 1, full: 5 };
const IDLE_MS = 500;

/** Connections that end while this process stands still, by GOAWAY or with a server that is killed, and calls before it has read that. */
export const closedUnread: Situation = {
  name: 'closed-unread',
  promise:
    'A connection that ended while the process was too busy to read of it costs the next call nothing, of either kind.',
  bounds: {
    calls: { atLeast: 2 * 2 * CLIENTS },
    failed: { atMost: 0 },
    'sent twice': { atMost: 0 },
    'connections that ended unread': { atLeast: 2 * CLIENTS },
  },
  play: (run) => {
    // One after the other: who stands still holds up the others in the middle of whatever they do.
    let before: Promise<unknown> = Promise.resolve();
    return againstEach(run, (kind) => {
      const played = before.then(() => standstills(run, kind));
      before = played;
      return played;
    });
  },
};

async function standstills(run: Run, kind: UpstreamKind): Promise<Measured> {
  const [closing, killed] = [
    await startUpstream(run, kind, { serverOptions: { 'grpc.max_connection_idle_ms': IDLE_MS } }),
    await startUpstream(run, kind),
  ];
  const clientsOf = (upstream: Upstream) =>
    Promise.all(Array.from({ length: CLIENTS }, () => startClientOf(run, upstream)));
  const [idle, struck] = [await clientsOf(closing), await clientsOf(killed)];
  const failures: unknown[] = [];
  let calls = 0;
  const callEach = (apps: readonly OrdersOf[]) =>
    Promise.all(
      apps.map(({ orders }) => {
        const id = String(++calls);
        const create = () => orders.create({ requestId: id, item: 'tea', quantity: 1 });
        const call = firstValueFrom<unknown>(calls % 2 === 0 ? create() : orders.get({ id }));
        return call.catch((error: unknown) => void failures.push(error));
      }),
    );
  for (let round = 0; round < ROUNDS[run.length]; round++) {
    await callEach(idle);
    // grpcio takes up to twice as long.
    standStill(3 * IDLE_MS);
    await callEach(idle);

    await Promise.all([callEach(struck), killed.prepareRestart()]);
    spawn('sh', ['-c', `sleep 0.2; kill -9 ${String(killed.pid)}`], { stdio: 'ignore' });
    standStill(600);
    const held = callEach(struck);
    await killed.restartAfter(0);
    await held;
  }
  const connections = [closing, killed].map(
    (upstream) => new Set(upstream.arrived('Get', 'Create').map(({ peer }) => peer)),
  );
  return {
    calls,
    failed: failures.length,
    ...(failures.length > 0 && { 'first failure': String(failures[0]) }),
    'sent twice': [closing, killed].reduce((sum, one) => sum + one.duplicates('Get') + one.duplicates('Create'), 0),
    'connections that ended unread': connections.reduce((sum, { size }) => sum + size - CLIENTS, 0),
  };
}

/** Nothing runs and nothing is read in this process for so long, as in a long turn of the event loop. */
function standStill(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
