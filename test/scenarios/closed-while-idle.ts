import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { otherThanSlow, slowConnections, startOrdersApp } from '../support/orders-app.js';
import { againstEach } from './support/kinds.js';
import { startUpstream } from './support/orders-client.js';
import { reach } from './support/reach.js';
import type { Measured, Run, Scenario, UpstreamKind } from './support/scenario.js';

const CLIENTS = 8;

/** Connections that are closed between two calls: by a proxy (FIN, RST, idle timeout) or because their server exits (SIGKILL, SIGTERM). */
export const closedWhileIdle: Scenario = {
  name: 'closed-while-idle',
  promise:
    'If the peer has closed an idle connection, in any way, the next call succeeds, is sent once, and needs no retry.',
  bounds: {
    calls: { atLeast: 5 * CLIENTS },
    'calls failed': { atMost: 0 },
    'calls sent twice': { atMost: 0 },
    'slowest call, ms': { atMost: 1_000, timed: true },
    retries: { atMost: 0 },
    'log lines above debug': { atMost: 0 },
    'log lines about slow connections': { atMost: 0, timed: true },
    // One line per closed connection.
    'log lines about READY → IDLE': { atLeast: 5 * CLIENTS },
  },
  measure: (run) => againstEach(run, (kind) => closeWhileIdle(run, kind)),
};

async function closeWhileIdle(run: Run, kind: UpstreamKind): Promise<Measured> {
  const upstream = await startUpstream(run, kind);
  const proxy = run.closeAtEnd(await FaultProxy.start(upstream.url));
  const settings = { url: proxy.url, ...upstream.settings };
  const app = run.closeAtEnd(await startOrdersApp(Array.from({ length: CLIENTS }, () => settings)));
  const apps = app.clients;
  const idleCut = async () => {
    proxy.cutIdleAfter(50, 'rst');
    await reach(() => proxy.counters.open === 0);
    proxy.cutIdleAfter(undefined);
  };
  const closings: readonly (() => unknown)[] = [
    () => proxy.closeAll(),
    () => proxy.resetAll(),
    idleCut,
    () => upstream.restartAfter(0, 'kill'),
    () => upstream.restartAfter(0, 'terminate'),
  ];
  const latenciesMs: number[] = [];
  const failures: unknown[] = [];
  let calls = 0;
  /** Makes one call per client, each after its own random delay. */
  const callEach = () =>
    Promise.all(
      apps.map(async ({ orders }) => {
        await pause(20 + run.random() * 80);
        const beganAt = performance.now();
        const id = String(++calls);
        const create = () => orders.create({ requestId: id, item: 'tea', quantity: 1 });
        await firstValueFrom<unknown>(calls % 2 === 0 ? create() : orders.get({ id })).catch(
          (error: unknown) => void failures.push(error),
        );
        latenciesMs.push(performance.now() - beganAt);
      }),
    );
  await callEach();
  for (let round = 0; round < (run.length === 'short' ? 1 : 10); round++) {
    for (const close of closings) {
      await close();
      // Waits for the state change, because the next calls must start after the client has detected the close.
      await reach(() => apps.every(({ client }) => client.connectivity.state !== 'READY'));
      await callEach();
    }
  }
  return {
    calls,
    'calls failed': failures.length,
    ...(failures.length > 0 && { 'first failure': String(failures[0]) }),
    'calls sent twice': upstream.duplicates('Get') + upstream.duplicates('Create'),
    'slowest call, ms': Math.max(...latenciesMs),
    retries: apps.reduce((sum, { client }) => sum + (client.snapshot().counters.retried ?? 0), 0),
    'log lines above debug': apps.flatMap(otherThanSlow).length,
    'log lines about slow connections': apps.flatMap(slowConnections).length,
    'log lines about READY → IDLE': apps.flatMap(({ lines }) =>
      lines.filter(({ text }) => text.startsWith('READY → IDLE')),
    ).length,
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
