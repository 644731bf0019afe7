import type { ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { waitFor, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { startClient, startServer, type ClientSettings, type EchoService, type EchoStub } from '../calls/support.js';
import { AddressSource } from './address-source.js';
import { ManyListeners } from './many-listeners.js';

interface Pair {
  readonly servers: readonly [ScriptedGrpcServer, ScriptedGrpcServer];
  readonly client: ResilientGrpcClient;
  readonly echo: EchoStub;
}

/** Starts two servers and a client, and waits for the connections to both. */
async function startPair(settings: ClientSettings = {}): Promise<Pair> {
  const servers = [await startServer(), await startServer()] as const;
  const url = `ipv4:${servers.map((server) => server.url).join(',')}`;
  const client = await startClient({ url, loadBalancing: 'least_request', ...settings });
  const echo = client.getService<EchoService>('Echo');
  while (readyOf(client) < 2) await firstValueFrom(echo.unary({}));
  return { servers, client, echo };
}

const readyOf = (client: ResilientGrpcClient): number =>
  client.snapshot().connections.filter(({ state }) => state === 'READY').length;
const callsOf = (server: ScriptedGrpcServer): number => server.counts().calls;

describe('least_request', () => {
  it('sends few calls to a slow server under least_request', async () => {
    const { servers, echo } = await startPair();
    const [slow] = servers;
    // Much longer than a call takes on a busy machine.
    slow.script('Unary', { delayMs: 1_000, message: {} });
    const callTogether = () =>
      Promise.all([1, 2, 3, 4].map(() => firstValueFrom(echo.unary({}, { timeoutMs: 60_000 }))));
    const before = callsOf(slow);
    // First, the policy must measure the latency of the slow server.
    while (callsOf(slow) === before) await callTogether();
    const measured = callsOf(slow);
    for (let round = 0; round < 50; round++) await callTogether();
    expect(callsOf(slow) - measured).toBeLessThan(40);
  });

  it('sends no further call to a server that has not answered for three seconds, before a call times out', async () => {
    const { servers, echo } = await startPair();
    const [frozen, other] = servers;
    // Before its first answer, an endpoint has no latency.
    while (servers.some((server) => callsOf(server) === 0)) await firstValueFrom(echo.unary({}));
    frozen.script('Unary', { never: true });
    const call = (): Promise<unknown> => firstValueFrom(echo.unary({}, { timeoutMs: 60_000 })).catch(() => undefined);
    let made = callsOf(frozen) + callsOf(other);
    const callTogether = async (count: number): Promise<void> => {
      for (let calls = 0; calls < count; calls++) void call();
      made += count;
      await waitFor(() => callsOf(frozen) + callsOf(other) === made);
    };
    const before = callsOf(frozen);
    while (callsOf(frozen) === before) await callTogether(4);
    const heldAt = performance.now();
    await waitFor(() => performance.now() - heldAt > 3_000);
    const held = callsOf(frozen);
    for (let round = 0; round < 5; round++) await callTogether(10);
    expect(callsOf(frozen) - held).toBe(0);
  });

  it('distributes streams under least_request by the number of running streams', async () => {
    const servers = [await startServer(), await startServer()];
    const url = `ipv4:${servers.map((server) => server.url).join(',')}`;
    const client = await startClient({ url, loadBalancing: 'least_request', connections: { warm: true } });
    // This test makes no unary calls, because the policy would measure their latencies. On a busy machine, one server may have several
    // times the latency of the other, and the policy would send fewer streams to the slower server.
    await waitFor(() => readyOf(client) === 2);
    for (const server of servers) server.script('ServerStream', { messages: [{ number: 1 }], never: true });
    const echo = client.getService<EchoService>('Echo');
    let open = 0;
    const streams = Array.from({ length: 40 }, () => echo.serverStream({}).subscribe({ next: () => (open += 1) }));
    await waitFor(() => open === 40);
    const counts = servers.map((server) => server.counts('ServerStream').open);
    for (const stream of streams) stream.unsubscribe();
    // With two servers, each choice compares both.
    expect(counts).toEqual([20, 20]);
  });

  it('replaces least_request_experimental in a service config with the least_request of this library', async () => {
    const loadBalancingConfig = [{ unknown_policy: {} }, { least_request_experimental: { choiceCount: 3 } }];
    const { client } = await startPair({
      loadBalancing: undefined,
      serviceConfig: { loadBalancingConfig },
    });
    expect(policyOf(client)).toMatch(/_least_request$/);
  });

  it('keeps calls waiting during an outage under least_request and sends them when a server accepts connections', async () => {
    const { servers, client, echo } = await startPair({ outageGraceMs: 60_000 });
    for (const server of servers) await server.stop('kill-connections');
    await waitFor(() => client.connectivity.state !== 'READY');
    const call = firstValueFrom(echo.unary({}, { timeoutMs: 60_000 }));
    await waitFor(() => client.snapshot().waiting === 1);
    await servers[1].restart();
    await call;
    expect(readyOf(client)).toBe(1);
  });
});

describe.each(['least_request', 'round_robin'] as const)('%s', (loadBalancing) => {
  it(`keeps the connections to addresses that a resolver reports again, and connects to new ones, under ${loadBalancing}`, async () => {
    const server = new ManyListeners();
    const addresses = await server.move(3);
    const source = new AddressSource();
    source.resolve(addresses.slice(0, 2));
    const client = await startClient({
      url: source.target,
      loadBalancing,
      connections: { warm: true },
    });
    await waitFor(() => readyOf(client) === 2);
    source.resolve(addresses.slice(1));
    await waitFor(() => client.snapshot().connections.some(({ address }) => address === addresses[2]));
    await waitFor(() => readyOf(client) === 2);
    expect(server.accepted).toBe(3);
    source.resolve([]);
    await waitFor(() => client.connectivity.state !== 'READY');
    source.fail('the name service is down');
    source.resolve(addresses.slice(1));
    await firstValueFrom(client.getService<EchoService>('Echo').unary({}));
    expect(server.accepted).toBe(3);
  });

  it(`retries on another endpoint under ${loadBalancing} even if the client has meanwhile connected to another address of the tried endpoint`, async () => {
    const [first, second, other] = [await startServer(), await startServer(), await startServer()];
    const source = new AddressSource();
    source.resolve([[first.url, second.url], other.url]);
    // During the backoff, the client connects to the second address of the endpoint.
    const retryPolicy = {
      maxAttempts: 2,
      initialBackoff: '1.5s',
      maxBackoff: '1.5s',
      backoffMultiplier: 1,
      retryableStatusCodes: ['UNAVAILABLE'],
    };
    const methodConfig = [{ name: [{ service: 'testing.v1.Echo' }], retryPolicy }];
    const client = await startClient({
      url: source.target,
      loadBalancing,
      connections: { warm: true },
      serviceConfig: { methodConfig },
    });
    await waitFor(() => readyOf(client) === 2);
    first.script('Unary', { status: 'UNAVAILABLE', details: 'failing' });
    const echo = client.getService<EchoService>('Echo');
    const calls = Promise.all(Array.from({ length: 8 }, () => firstValueFrom(echo.unary({}))));
    await waitFor(() => callsOf(first) + callsOf(other) === 8);
    await first.stop('kill-connections');
    await waitFor(() =>
      client.snapshot().connections.some(({ address, state }) => address === second.url && state === 'READY'),
    );
    await calls;
    expect(callsOf(first)).toBeGreaterThan(0);
    expect(callsOf(second)).toBe(0);
    expect(callsOf(other)).toBe(8);
  });
});

interface PolicyInternals {
  readonly child: { readonly currentChild: { getTypeName(): string } };
}

/** Returns the load-balancing policy of the client's channel. */
function controlOf(client: ResilientGrpcClient): PolicyInternals {
  const { managed: channel } = client as unknown as {
    readonly managed: { readonly current: { readonly policy: { readonly control: PolicyInternals } } };
  };
  return channel.current.policy.control;
}

const policyOf = (client: ResilientGrpcClient): string => controlOf(client).child.currentChild.getTypeName();
