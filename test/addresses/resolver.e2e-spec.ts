import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { startClient, type ClientSettings, type EchoService } from '../calls/support.js';
import { AddressSource } from './address-source.js';
import { ManyListeners } from './many-listeners.js';

interface CalledClient {
  readonly client: ResilientGrpcClient;
  call(): Promise<unknown>;
}

async function clientOf(source: AddressSource, settings: ClientSettings = {}): Promise<CalledClient> {
  const client = await startClient({ url: source.target, ...settings });
  const echo = client.getService<EchoService>('Echo');
  return { client, call: () => firstValueFrom(echo.unary({}, { timeoutMs: 30_000 })) };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('resolver', () => {
  it('keeps the connections to 100 resolved addresses open past the connect timeout', async () => {
    const server = new ManyListeners();
    const source = new AddressSource();
    source.resolve(await server.move(100));
    await clientOf(source, { loadBalancing: 'round_robin', connections: { warm: true, connectTimeoutMs: 1_000 } });
    await waitFor(() => server.sockets.size === 100, { timeoutMs: 20_000 });
    const sockets = [...server.sockets];
    // Twice the timeout, plus a margin for a stalled process.
    await pause(3_000);
    expect(sockets.filter(({ destroyed }) => destroyed)).toEqual([]);
    expect(server.sockets.size).toBe(100);
  });

  it('opens one connection to an address that the resolver reports several times', async () => {
    const server = new ManyListeners();
    const [address = ''] = await server.move(1);
    const source = new AddressSource();
    source.resolve([address, address, address]);
    for (const loadBalancing of ['pick_first', 'round_robin'] as const) {
      const { client, call } = await clientOf(source, { loadBalancing });
      await call();
      expect(client.snapshot().connections).toHaveLength(1);
    }
    expect(server.sockets.size).toBe(2);
  });

  it('counts each connection once if the resolver changes attributes with each report', async () => {
    const server = new ManyListeners();
    const addresses = await server.move(2);
    const source = new AddressSource();
    source.resolve(addresses);
    const { client, call } = await clientOf(source, { loadBalancing: 'round_robin' });
    await call();
    for (let i = 1; i <= 5; i++) {
      source.resolve(addresses, { attributes: { 'test.attribute': i } });
      await pause(120);
      await call();
    }
    await waitFor(() => client.snapshot().connections.filter(({ state }) => state === 'READY').length === 2);
    const { managed: channel } = client as unknown as { readonly managed: { readonly openConnections: number } };
    expect(channel.openConnections).toBe(2);
  });

  it('limits how often the client queries a resolver that always reports an empty address list', async () => {
    const source = new AddressSource((one) => setImmediate(() => one.resolve([])));
    await clientOf(source, { connections: { warm: true } });
    await pause(1_500);
    // At most one query per 100 ms, even on a busy machine. Without the limit, there would be thousands.
    expect(source.requests).toBeGreaterThan(1);
    expect(source.requests).toBeLessThan(30);
  });

  it('uses the latest addresses if the resolver reports addresses faster than the client can apply them', async () => {
    const old = new ManyListeners();
    const next = new ManyListeners();
    const [former, latter] = [await old.move(3), await next.move(3)];
    const source = new AddressSource();
    source.resolve(former);
    const { call } = await clientOf(source, { loadBalancing: 'round_robin' });
    await call();
    for (let i = 0; i < 1_000; i++) source.resolve(i % 2 === 0 ? former : latter);
    await waitFor(() => next.sockets.size === 3, { timeoutMs: 20_000 });
    await call();
    // Only the first and the last update opened connections.
    expect(old.accepted).toBe(3);
    expect(next.accepted).toBe(3);
  });
});

describe('service config of a resolver', () => {
  it('applies a resolved service config on the transport of grpc-js, and fails no call if it changes the load-balancing policy', async () => {
    const server = new ManyListeners();
    const addresses = await server.move(2);
    const source = new AddressSource(undefined, true);
    source.resolve(addresses);
    const { client, call } = await clientOf(source);
    await call();
    expect(client.snapshot().transport).toBe('grpc-js');
    source.resolve(addresses, { serviceConfig: { loadBalancingConfig: [{ round_robin: {} }], methodConfig: [] } });
    await waitFor(() => server.sockets.size === 2);
    await waitFor(() => client.connectivity.state === 'READY');
    await call();
    source.resolve(addresses);
    await call();
  });

  it('rejects client options whose service config names the internal load-balancing policy', async () => {
    const server = new ManyListeners();
    const [url = ''] = await server.move(1);
    await (await clientOf(new AddressSource(), { url, loadBalancing: 'round_robin' })).call();
    const policy = { nestjs_resilient_grpc: { child: [{ pick_first: {} }] } };
    await expect(startClient({ url, serviceConfig: { loadBalancingConfig: [policy] } })).rejects.toThrow(
      'nestjs_resilient_grpc (internal to this library)',
    );
  });

  it('reports the cause of failed connections, not the cause of a later lookup failure, while earlier addresses are in use', async () => {
    const server = new ManyListeners();
    const addresses = await server.move(2);
    await server.move(0);
    const source = new AddressSource();
    source.resolve(addresses);
    const { client } = await clientOf(source, {
      loadBalancing: 'round_robin',
      ejectUnhealthy: true,
      connections: { warm: true },
    });
    const failed: (string | undefined)[] = [];
    client.events$.subscribe((event) => {
      if (event.type === 'connection' && event.change === 'failed') failed.push(event.address);
    });
    await waitFor(() => client.connectivity.state === 'TRANSIENT_FAILURE');
    source.fail('the name service is down');
    await waitFor(() => failed.length >= 6, { timeoutMs: 20_000 });
    expect(new Set(failed)).toEqual(new Set(addresses));
    expect(client.connectivity.lastFailure?.kind).toBe('refused');
  });
});
