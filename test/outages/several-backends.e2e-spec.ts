import type { GrpcClientEvent } from 'nestjs-resilient-grpc';
import { describe, expect, it, onTestFinished } from 'vitest';
import { firstValueFrom } from 'rxjs';
import { FaultProxy, waitFor } from 'nestjs-resilient-grpc/testing';
import { startClient, startServer, type EchoService } from '../calls/support.js';
import { shortLivedPeer } from '../support/peers.js';

describe('round_robin with one healthy backend and one that closes each connection 5 ms after it receives SETTINGS', () => {
  it('reports no outage with round_robin if one backend closes each connection 5 ms after it receives SETTINGS and the other backend serves the calls', async () => {
    const good = await startServer();
    const bad = await shortLivedPeer(5);
    onTestFinished(() => bad.close());
    const proxy = await FaultProxy.start(bad.url);
    onTestFinished(() => proxy.close());
    // Refuses connections to the bad backend at first, because a connection lost before the good backend is READY starts an outage.
    proxy.refuse();
    const client = await startClient({
      url: `ipv4:${good.url},${proxy.url}`,
      channelOptions: { 'grpc.initial_reconnect_backoff_ms': 100, 'grpc.max_reconnect_backoff_ms': 100 },
      loadBalancing: 'round_robin',
      connection: 'warm',
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
