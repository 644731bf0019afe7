import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { firstValueFrom } from 'rxjs';
import type { OrdersOf } from '../support/orders-app.js';
import { startOrdersApp } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { outageGrace, startUpstream } from './support/orders-client.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';
import type { Upstream } from './support/upstream.js';

const CLIENTS = 4;
const ROUNDS = { short: 1, full: 5 };
const IDLE_MS = 500;

/** Ends connections with GOAWAY or SIGKILL while this process is blocked, and makes calls before it has detected that they closed. */
export const closedUnread: Scenario = {
  name: 'closed-unread',
  needs: ['procfs'],
  promise:
    'If a connection ended while the process was too busy to detect this, the next call succeeds and is sent once.',
  bounds: {
    calls: { atLeast: 2 * 2 * CLIENTS },
    'calls failed': { atMost: 0 },
    'calls sent twice': { atMost: 0 },
    'connections closed but not yet detected as closed': { atLeast: 2 * CLIENTS },
  },
  measure: (run) => {
    // Runs are sequential, because a blocked process would also delay concurrent runs.
    let before: Promise<unknown> = Promise.resolve();
    return againstEach(run, async (kind) => {
      const servers = await startServers(run, kind);
      const measured = before.then(() => measureRounds(run, servers));
      before = measured;
      return measured;
    });
  },
};

/** Starts a server that closes its idle connections, and a server to be killed. */
async function startServers(run: Run, kind: UpstreamKind) {
  const [closing, killed] = await Promise.all([
    startUpstream(run, kind, { serverOptions: { 'grpc.max_connection_idle_ms': IDLE_MS } }),
    startUpstream(run, kind),
  ]);
  await killed.prepareRestart();
  return { closing, killed };
}

async function measureRounds(
  run: Run,
  { closing, killed }: { closing: Upstream; killed: Upstream },
): Promise<Measured> {
  const clientsOf = async (upstream: Upstream) => {
    const settings = { url: upstream.url, ...upstream.settings, ...outageGrace(run) };
    const app = run.closeAtEnd(await startOrdersApp(Array.from({ length: CLIENTS }, () => settings)));
    return app.clients;
  };
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
    // Blocks for more than twice the idle timeout, because grpcio may take that long to close an idle connection.
    blockUntil(2 * IDLE_MS + 100, () => openTo(closing).every(({ isUnread }) => isUnread));
    await callEach(idle);

    await Promise.all([callEach(struck), killed.prepareRestart()]);
    spawn('sh', ['-c', `sleep 0.2; kill -9 ${String(killed.pid)}`], { stdio: 'ignore' });
    blockUntil(0, () => openTo(killed).length === 0);
    const held = callEach(struck);
    await killed.restartAfter(0);
    await held;
  }
  const connections = [closing, killed].map(
    (upstream) => new Set(upstream.arrived('Get', 'Create').map(({ peer }) => peer)),
  );
  return {
    calls,
    'calls failed': failures.length,
    ...(failures.length > 0 && { 'first failure': String(failures[0]) }),
    'calls sent twice': [closing, killed].reduce(
      (sum, one) => sum + one.duplicates('Get') + one.duplicates('Create'),
      0,
    ),
    'connections closed but not yet detected as closed': connections.reduce((sum, { size }) => sum + size - CLIENTS, 0),
  };
}

/**
 * Blocks the event loop of this process for at least `minMs` and until `isOver()` returns true.
 * @throws if `isOver()` does not return true within 60 s
 */
function blockUntil(minMs: number, isOver: () => boolean): void {
  const beganAt = performance.now();
  const elapsedMs = () => performance.now() - beganAt;
  const sleepCell = new Int32Array(new SharedArrayBuffer(4));
  while (elapsedMs() < minMs || !isOver()) {
    if (elapsedMs() > 60_000)
      throw new Error('expected the server to close all connections within 60 s, but some are still open');
    Atomics.wait(sleepCell, 0, 0, 20);
  }
}

const ESTABLISHED = '01';

/** Open connections to `upstream` as reported by the kernel. `isUnread` is true if a connection has received bytes that are unread. */
function openTo({ url }: Upstream): readonly { readonly isUnread: boolean }[] {
  const port = Number(url.split(':').at(-1));
  const remote = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  // https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt
  const [, ...rows] = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n');
  return rows
    .map((row) => row.trim().split(/\s+/))
    .filter((row) => row[2]?.endsWith(remote) === true && row[3] === ESTABLISHED)
    .map((row) => ({ isUnread: !/:0+$/.test(row[4] ?? '') }));
}
