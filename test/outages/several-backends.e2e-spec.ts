import { describe, expect, it, onTestFinished } from 'vitest';
import { firstValueFrom } from 'rxjs';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { startClient, startServer, type EchoService } from '../calls/support.js';
import { shortLivedPeer } from '../support/peers.js';

describe('round_robin over a good backend and one that dies after its SETTINGS', () => {
  it('is no outage: the other one carries the calls', async () => {
    const good = await startServer();
    const bad = await shortLivedPeer(5);
    onTestFinished(() => bad.close());
    const client = await startClient({
      url: `ipv4:${good.url},${bad.url}`,
      loadBalancing: 'round_robin',
      connection: 'warm',
      outageGraceMs: 500,
    });
    const echo = client.getService<EchoService>('Echo');
    await waitFor(() => bad.acceptedAt.length >= 2, { timeoutMs: 15_000 });
    await waitFor(() => client.connectivity.state === 'READY');
    expect(client.connectivity.outage).toBeUndefined();
    expect(await firstValueFrom(echo.unary({ text: 'x' }))).toMatchObject({ text: 'x' });
  });
});
