import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Server, ServerCredentials, type ServiceDefinition, type handleUnaryCall } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { HealthImplementation } from 'grpc-health-check';
import type { GrpcClientSettings } from 'nestjs-resilient-grpc';
import { captureLeaks, FaultProxy, waitFor, type Reply, type ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { BehaviorSubject, firstValueFrom } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { AddressSource } from '../addresses/address-source.js';
import { holdTimers } from '../server/support/held-timers.js';
import { bundled } from '../support/bundled.js';
import { ORDERS_PROTO, type OrdersApp } from '../support/orders-app.js';
import { servingOf, startApp, startScripted, statusOf } from './support.js';

const UNCLOSED_CLIENT = bundled(new URL('../support/unclosed-client.mjs', import.meta.url));
const ORDERS = 'orders.v1.Orders';
// The cast is safe because the .proto file defines this service.
const ORDERS_SERVICE = loadSync(ORDERS_PROTO)[ORDERS] as ServiceDefinition;

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** Starts plain grpc-js servers with the health service of grpc-health-check. */
function startServers(count: number) {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const server = new Server();
      const get: handleUnaryCall<{ id: string }, object> = ({ request }, callback) => {
        callback(null, { id: request.id });
      };
      server.addService(ORDERS_SERVICE, { Get: get });
      const health = new HealthImplementation({ '': 'SERVING', [ORDERS]: 'SERVING' });
      health.addToServer(server);
      onTestFinished(() => {
        server.forceShutdown();
      });
      const bind = promisify(server.bindAsync.bind(server));
      const url = `127.0.0.1:${await bind('127.0.0.1:0', ServerCredentials.createInsecure())}`;
      const setStatus = (status: 'SERVING' | 'NOT_SERVING') => {
        health.setStatus(ORDERS, status);
      };
      return { url, setStatus };
    }),
  );
}

function settingsFor(servers: readonly { readonly url: string }[]): GrpcClientSettings {
  return {
    url: `ipv4:${servers.map(({ url }) => url).join(',')}`,
    loadBalancing: 'round_robin',
    serviceConfig: { healthCheckConfig: { serviceName: ORDERS } },
  };
}

/** Makes `count` calls and returns the addresses of the servers that responded. */
async function peersOf({ client, orders }: OrdersApp, count = 30): Promise<ReadonlySet<string | undefined>> {
  const peers = new Set<string | undefined>();
  const watching = client.events$.subscribe((event) => {
    if (event.type === 'call-end') peers.add(event.end.peer);
  });
  for (let call = 0; call < count; call++) await firstValueFrom(orders.get({ id: '1' }));
  watching.unsubscribe();
  return peers;
}

const healthOf = ({ client }: OrdersApp) =>
  new Map(client.snapshot().connections.map(({ address, health }) => [address, health]));

it('checks the health of a server as a whole if serviceName is empty', async () => {
  const servers = await startServers(2);
  const app = await startApp(onTestFinished, {
    ...settingsFor(servers),
    serviceConfig: { healthCheckConfig: { serviceName: '' } },
  });
  await peersOf(app);
  expect([...healthOf(app).values()]).toEqual(['serving', 'serving']);
});

it('reports an unknown service in the state of its endpoints, in errors, and in the log, and suggests a doctor command', async () => {
  const servers = await startServers(1);
  const serviceConfig = { healthCheckConfig: { serviceName: 'Orders' } };
  const app = await startApp(onTestFinished, { ...settingsFor(servers), serviceConfig, outageGraceMs: 100 });
  const details = await firstValueFrom(app.orders.get({ id: '1' })).catch((error: unknown) => String(error));
  expect(details).toMatch(
    /no endpoint is serving \(127\.0\.0\.1:\d+: unknown-service\) \(check the health that the server reports, and the service name in healthCheckConfig; to diagnose, run: npx nestjs-resilient-grpc doctor ipv4:127\.0\.0\.1:\d+ --service Orders\)/,
  );
  expect([...healthOf(app).values()]).toEqual(['unknown-service']);
  expect(app.lines.map(({ text }) => text)).toContainEqual(
    expect.stringMatching(
      /^endpoint 127\.0\.0\.1:\d+ reports the service in healthCheckConfig as unknown and gets no calls; write the full name of a service, as in the proto$/,
    ),
  );
});

describe('endpoint that is NOT_SERVING', () => {
  it('makes no call to an endpoint that is NOT_SERVING from the start', async () => {
    const notServing = await startScripted(onTestFinished, {
      'Health/Watch': { messages: [{ status: 'NOT_SERVING' }], never: true },
    });
    const serving = await startScripted(onTestFinished, {
      'Health/Watch': { messages: [{ status: 'SERVING' }], never: true },
    });
    const app = await startApp(onTestFinished, settingsFor([notServing, serving]));
    for (let call = 0; call < 50; call++) await firstValueFrom(app.orders.get({ id: '1' }));
    expect(notServing.counts('Orders/Get').calls).toBe(0);
    expect(app.client.snapshot().outages.total).toBe(0);
  });
});

describe('health of each endpoint', () => {
  it('counts an endpoint without the health service as healthy, and opens one health Watch per connection', async () => {
    const servers = await Promise.all([startScripted(onTestFinished, {}), startScripted(onTestFinished, {})]);
    const app = await startApp(onTestFinished, settingsFor(servers));
    await waitFor(async () => (await peersOf(app)).size === 2);
    expect(servers.map((server) => server.counts('Health/Watch').calls)).toEqual([1, 1]);
    expect([...healthOf(app).values()]).toEqual(['unimplemented', 'unimplemented']);
  });

  it('reopens a health Watch that the server ended more than 1 s after its start, and keeps the health status of the endpoint until the new Watch responds', async () => {
    const server = await startScripted(onTestFinished, {
      'Health/Watch': [
        { messages: [{ status: 'SERVING' }], delayMs: 1_100, status: 'UNAVAILABLE' },
        { messages: [{ status: 'SERVING' }], never: true },
      ],
    });
    const app = await startApp(onTestFinished, settingsFor([server]));
    await firstValueFrom(app.orders.get({ id: '1' }));
    await waitFor(() => server.counts('Health/Watch').calls === 2);
    await firstValueFrom(app.orders.get({ id: '1' }));
    expect(app.client.snapshot().outages.total).toBe(0);
  });

  it('makes calls wait while no endpoint is serving, and releases the calls when an endpoint is serving', async () => {
    const servers = await startServers(2);
    const app = await startApp(onTestFinished, { ...settingsFor(servers), outageGraceMs: 60_000 });
    await waitFor(async () => (await peersOf(app)).size === 2);
    for (const server of servers) server.setStatus('NOT_SERVING');
    await waitFor(() => app.client.connectivity.outage !== undefined);
    expect(app.client.connectivity.lastError).toContain('no endpoint is serving');
    const waiting = firstValueFrom(app.orders.get({ id: '1' }));
    await waitFor(() => app.client.snapshot().waiting === 1);
    servers[0]!.setStatus('SERVING');
    await waiting;
    expect(await peersOf(app)).toEqual(new Set([servers[0]!.url]));
  });

  it('applies the healthCheckConfig of a live service config without failing a call', async () => {
    const servers = await startServers(2);
    const { url } = settingsFor(servers);
    const configOf = (serviceName?: string) => ({
      loadBalancingConfig: [{ round_robin: {} }],
      ...(serviceName !== undefined && { healthCheckConfig: { serviceName } }),
    });
    const configs = new BehaviorSubject<object>(configOf());
    const app = await startApp(onTestFinished, { url, serviceConfig: configs });
    await waitFor(async () => (await peersOf(app)).size === 2);
    servers[0]!.setStatus('NOT_SERVING');
    configs.next(configOf(ORDERS));
    await waitFor(async () => {
      await peersOf(app, 1);
      return healthOf(app).get(servers[0]!.url) === 'not-serving';
    });
    await waitFor(async () => !(await peersOf(app, 4)).has(servers[0]!.url));
    expect(await peersOf(app)).toEqual(new Set([servers[1]!.url]));
    const replaced = app.lines.filter(({ text }) => text.startsWith('connection-replaced'));
    expect(replaced).toHaveLength(1);
    expect(app.client.snapshot().outages.total).toBe(0);
  });

  it('lets a process with an unclosed client exit after its last call', async () => {
    const servers = await Promise.all(
      [1, 2].map(() =>
        startScripted(onTestFinished, {
          'Health/Watch': { messages: [{ status: 'SERVING' }], never: true },
          // Without an open call, the process would exit within this time.
          'Orders/Get': { delayMs: 1_000, message: { id: '7' } },
        }),
      ),
    );
    const { url, ...settings } = settingsFor(servers);
    const args = [UNCLOSED_CLIENT, url, ORDERS_PROTO, JSON.stringify(settings)];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 });
    expect(stdout.trim().split('\n')).toEqual([
      expect.stringMatching(/^7 .*serving/),
      expect.stringMatching(/^7 .*serving/),
    ]);
  });

  it('opens no health Watch if the load-balancing policy is pick_first', async () => {
    const server = await startScripted(onTestFinished, {
      'Health/Watch': { messages: [{ status: 'NOT_SERVING' }], never: true },
    });
    const app = await startApp(onTestFinished, { ...settingsFor([server]), loadBalancing: 'pick_first' });
    await firstValueFrom(app.orders.get({ id: '1' }));
    expect(server.counts('Health/Watch').calls).toBe(0);
  });

  it('sends the metadata of the client with each health Watch', async () => {
    const server = await startScripted(onTestFinished, {
      'Health/Watch': ({ metadata }: any) =>
        metadata.get('authorization')[0] === 'Bearer 7'
          ? { messages: [{ status: 'SERVING' }], never: true }
          : { status: 'UNAUTHENTICATED' },
    });
    const metadata = () => Promise.resolve({ authorization: 'Bearer 7' });
    const app = await startApp(onTestFinished, { ...settingsFor([server]), metadata });
    await firstValueFrom(app.orders.get({ id: '1' }));
    expect(healthOf(app).get(server.url)).toBe('serving');
  });

  it.each<[string, Partial<GrpcClientSettings>, (app: OrdersApp, server: ScriptedGrpcServer) => unknown]>([
    // The stop resolves only if the Watch ends, because a graceful stop waits for every stream.
    ['its server shuts down', {}, (_, server) => server.stop('graceful')],
    ['the channel becomes idle', { connections: { idleMs: 1_000 } }, () => undefined],
    ['the client drains', {}, ({ client }) => client.drain()],
    ['the application shuts down', {}, (app) => app.close()],
  ])('ends a health Watch when %s', async (_, settings, end) => {
    const server = await startScripted(onTestFinished, {
      'Health/Watch': { messages: [{ status: 'SERVING' }], never: true },
    });
    const app = await startApp(onTestFinished, { ...settingsFor([server]), ...settings });
    await firstValueFrom(app.orders.get({ id: '1' }));
    expect(server.counts('Health/Watch')).toMatchObject({ calls: 1, open: 1 });
    await end(app, server);
    await waitFor(() => server.counts('Health/Watch').open === 0);
    expect(server.counts('Health/Watch').calls).toBe(1);
  });

  it('ends the health Watches of a replaced channel whose calls are still open', async () => {
    const server = await startScripted(onTestFinished, {
      'Health/Watch': { messages: [{ status: 'SERVING' }], never: true },
      'Orders/Watch': { never: true },
    });
    const { serviceConfig, ...settings } = settingsFor([server]);
    const configs = new BehaviorSubject<unknown>(serviceConfig);
    const app = await startApp(onTestFinished, { ...settings, serviceConfig: configs as BehaviorSubject<object> });
    const feed = app.orders.watch({ from: '0' }).subscribe();
    await waitFor(() => server.counts('Orders/Watch').open === 1);
    expect(server.counts('Health/Watch').open).toBe(1);
    // After a second, the replaced channel would end the Watch in any case.
    const { until } = holdTimers();
    configs.next({});
    await until(() => server.counts('Health/Watch').open === 0);
    expect(server.counts('Orders/Watch').open).toBe(1);
    feed.unsubscribe();
  });

  it.each<[string, Record<string, Reply>]>([
    ['NOT_SERVING', { 'Health/Watch': { messages: [{ status: 'NOT_SERVING' }], never: true } }],
    ['nothing', { 'Health/Watch': { never: true } }],
  ])(
    'keeps using a removed endpoint while the health Watch of its READY replacement reports %s',
    async (_, scripts) => {
      const serving = { 'Health/Watch': { messages: [{ status: 'SERVING' }], never: true } };
      const before = await startScripted(onTestFinished, serving);
      const after = await startScripted(onTestFinished, scripts);
      const source = new AddressSource();
      source.resolve([before.url]);
      const app = await startApp(onTestFinished, { ...settingsFor([]), url: source.target });
      await firstValueFrom(app.orders.get({ id: '1' }));
      source.resolve([after.url]);
      await waitFor(() => after.counts('Health/Watch').open === 1);
      expect(await peersOf(app)).toEqual(new Set([before.url]));
      expect(app.client.snapshot().outages.total).toBe(0);
      after.script('Health/Watch', serving['Health/Watch']);
      await after.restart('kill-connections');
      await waitFor(() => healthOf(app).get(after.url) === 'serving');
      await waitFor(async () => !(await peersOf(app, 3)).has(before.url));
      expect(await peersOf(app)).toEqual(new Set([after.url]));
      await waitFor(() => before.counts('Health/Watch').open === 0);
      expect(app.client.snapshot().outages.total).toBe(0);
    },
  );

  it('keeps the serving indicator up while the channel reconnects without an outage', async () => {
    const serving = { 'Health/Watch': { messages: [{ status: 'SERVING' }], never: true } };
    const server = await startScripted(onTestFinished, serving);
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const app = await startApp(onTestFinished, { ...settingsFor([proxy]), connections: { warm: true } });
    // The response shows that the connection works, so its loss starts no outage.
    await firstValueFrom(app.orders.get({ id: '1' }));
    // The proxy accepts the next connection, but no HTTP/2 handshake follows.
    await proxy.staySilent();
    proxy.resetAll();
    await waitFor(() => app.client.connectivity.state === 'CONNECTING');
    const entry = await servingOf(app, { service: ORDERS });
    expect(app.client.connectivity).toMatchObject({ state: 'CONNECTING' });
    expect(app.client.connectivity.outage).toBeUndefined();
    expect(entry).toMatchObject({ state: 'CONNECTING', endpoints: { [proxy.url]: 'disconnected' } });
    expect(statusOf(entry)).toBe('up');
  });

  it('keeps the serving indicator up while at least half of the endpoints are serving', async () => {
    const servers = await startServers(3);
    const app = await startApp(onTestFinished, { ...settingsFor(servers), outageGraceMs: 60_000 });
    await waitFor(async () => (await peersOf(app)).size === 3);
    const serving = async () => {
      const entry = await servingOf(app, { service: ORDERS });
      return `${statusOf(entry)} ${String(entry['serving'])}`;
    };
    const set = async (index: number, status: 'SERVING' | 'NOT_SERVING', health: string) => {
      servers[index]!.setStatus(status);
      await waitFor(() => healthOf(app).get(servers[index]!.url) === health);
    };
    expect(await serving()).toBe('up 3');
    await set(0, 'NOT_SERVING', 'not-serving');
    expect(await serving()).toBe('up 2');
    await set(1, 'NOT_SERVING', 'not-serving');
    expect(await serving()).toBe('degraded 1');
    await set(0, 'SERVING', 'serving');
    expect(await serving()).toBe('up 2');
  });
});
