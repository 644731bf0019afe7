import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { describe, expect, it, onTestFinished } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { firstValueFrom } from 'rxjs';
import { FaultProxy, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { startClient, startServer, turns, type EchoService } from '../calls/support.js';
import { holdTimers } from '../server/support/held-timers.js';
import { ORDERS_PROTO, aboveDebug, startOrdersApp } from '../support/orders-app.js';
import { shortLivedPeer } from '../support/peers.js';

describe('round_robin with one healthy backend and one that closes each connection 5 ms after it receives SETTINGS', () => {
  it('reports no outage with round_robin if one backend closes each connection 5 ms after it receives SETTINGS and the other backend serves the calls', async () => {
    const good = await startServer();
    const bad = await closedAfterTest(shortLivedPeer(5));
    const proxy = await closedAfterTest(FaultProxy.start(bad.url));
    // Refuses connections to the bad backend at first, because a connection lost before the good backend is READY starts an outage.
    proxy.refuse();
    const client = await startClient({
      url: `ipv4:${good.url},${proxy.url}`,
      channelOptions: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 100 },
      loadBalancing: 'round_robin',
      connections: { warm: true },
      outageGraceMs: 500,
    });
    const echo = client.getService<EchoService>('Echo');
    const outages: GrpcClientEvent[] = [];
    await waitFor(() => client.connectivity.state === 'READY' && client.connectivity.outage === undefined, {
      timeoutMs: 20_000,
    });
    client.events$.subscribe((event) => {
      if (event.type === 'outage-start') outages.push(event);
    });
    await proxy.forward();
    await waitFor(() => bad.acceptedAt.length >= 2, { timeoutMs: 20_000 });
    expect(client.connectivity.state).toBe('READY');
    expect(outages).toEqual([]);
    expect(await firstValueFrom(echo.unary({ text: 'x' }))).toMatchObject({ text: 'x' });
  });
});

describe('an endpoint that cannot be reached while another one serves the calls', () => {
  it.each(['round_robin', 'least_request'] as const)(
    'logs an endpoint that has been unreachable for a minute under %s, and logs that it is connected again',
    async (loadBalancing) => {
      const start = () => ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: {} } });
      const [good, stopped] = [await start(), await start()];
      onTestFinished(() => good.close());
      onTestFinished(() => stopped.close());
      await stopped.stop('force');
      const { advance, until } = holdTimers();
      const app = await startOrdersApp({
        url: `ipv4:${good.url},${stopped.url}`,
        loadBalancing,
        connections: { warm: true },
      });
      onTestFinished(() => app.close());
      await until(() => app.client.connectivity.state === 'READY');
      const failures = () =>
        app.lines.filter(({ text }) => text.startsWith(`connection failed: address=${stopped.url},`)).length;
      const advanceUntil = async (condition: () => boolean) => {
        while (!condition()) {
          await advance(500);
          await turns();
        }
      };
      await advanceUntil(() => failures() > 0);
      const startedAt = Date.now();
      await advanceUntil(() => Date.now() - startedAt >= 55_000);
      expect(failures()).toBeGreaterThan(5);
      expect(aboveDebug(app)).toEqual([]);

      await advanceUntil(() => aboveDebug(app).length > 0);
      expect(aboveDebug(app)).toEqual([
        expect.stringMatching(
          new RegExp(
            `^warn: endpoint ${stopped.url} unreachable for 6\\d(\\.\\d)? s: .*ECONNREFUSED.*; calls use other connections; check ` +
              'that the server is running on this address and port; to diagnose, run: npx nestjs-resilient-grpc doctor \\S+',
          ),
        ),
      ]);
      await expect(firstValueFrom(app.orders.get({ id: '1' }))).resolves.toBeDefined();

      await stopped.restart();
      await advanceUntil(() => aboveDebug(app).length > 1);
      expect(aboveDebug(app)[1]).toMatch(/^log: endpoint \S+ is connected again after \d+(\.\d)? s$/);
    },
  );
});
