import type { GrpcClientEvent, GrpcClientSettings } from 'nestjs-resilient-grpc';
import { captureLeaks, ScriptedGrpcServer, waitFor, type Reply } from 'nestjs-resilient-grpc/testing';
import { BehaviorSubject, firstValueFrom, Subscription } from 'rxjs';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { AddressSource } from './address-source.js';
import { aboveDebug, ORDERS_PROTO, startOrdersApp, type OrdersApp } from '../support/orders-app.js';

const OK = { message: { id: '1' } };
const FAILED = { status: 'UNAVAILABLE', details: 'no database' } as const;
/** Limits for a test that hangs, long enough for a busy machine. */
const WAIT_LIMITS = { timeoutMs: 30_000 };

type EndpointEvent = Extract<GrpcClientEvent, { type: 'endpoint' }>;

const leaks = captureLeaks();
afterAll(() => leaks.settled());

async function startServers(count: number): Promise<readonly ScriptedGrpcServer[]> {
  const start = () => ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: OK } });
  const servers = await Promise.all(Array.from({ length: count }, start));
  onTestFinished(async () => {
    await Promise.all(servers.map((server) => server.close()));
  });
  return servers;
}

/** Starts a client that retries reads. Records its endpoint events, and waits until each of `servers` has received a call. */
async function startClient(servers: readonly ScriptedGrpcServer[], settings: Partial<GrpcClientSettings>) {
  const app = await startOrdersApp({
    url: `ipv4:${servers.map(({ url }) => url).join(',')}`,
    ...(settings.serviceConfig === undefined && { loadBalancing: 'round_robin' }),
    methods: { Get: { idempotent: true } },
    ...settings,
  });
  onTestFinished(() => app.close());
  const events: EndpointEvent[] = [];
  app.client.events$.subscribe((event) => {
    if (event.type === 'endpoint') events.push(event);
  });
  await waitFor(async () => {
    await call(app);
    return servers.every((server) => server.counts('Get').calls > 0);
  });
  const ejected = (): readonly string[] =>
    events.filter(({ change }) => change === 'ejected').map(({ address }) => address);
  return { app, events, ejected };
}

interface Callbacks {
  get(request: object, done: (error: unknown) => void): { cancel(): void };
}

const callbackClient = ({ client }: OrdersApp): Callbacks => client.getClientByServiceName<Callbacks>('Orders');

function call({ orders }: OrdersApp): Promise<unknown> {
  return firstValueFrom(orders.get({ id: '1' }));
}

/** Makes concurrent calls whose failures are ignored. */
async function callOften(app: OrdersApp, count: number): Promise<void> {
  await Promise.allSettled(Array.from({ length: count }, () => call(app)));
}

const STANDARD = {
  interval: '0.2s',
  baseEjectionTime: '60s',
  maxEjectionPercent: 50,
  failurePercentageEjection: { threshold: 50, minimumHosts: 2, requestVolume: 10 },
};

describe('rules of ejection', () => {
  it.each<[string, Partial<GrpcClientSettings>]>([
    ['ejectUnhealthy', { ejectUnhealthy: true }],
    [
      'outlier_detection_experimental in a service config',
      {
        serviceConfig: {
          loadBalancingConfig: [
            { outlier_detection_experimental: { ...STANDARD, childPolicy: [{ round_robin: {} }] } },
            { round_robin: {} },
          ],
        },
      },
    ],
    [
      "loadBalancing with outlier_detection in grpc-js's own form",
      {
        loadBalancing: [
          {
            outlier_detection: {
              interval: { seconds: 0, nanos: 200_000_000 },
              failure_percentage_ejection: { threshold: 50, minimum_hosts: 2, request_volume: 10 },
              max_ejection_percent: 50,
              child_policy: [{ round_robin: {} }],
            },
          },
        ],
      },
    ],
  ])('ejects a failing endpoint and uses the others if the client sets %s', async (_name, settings) => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, settings);
    const [unhealthy] = servers;
    unhealthy!.script('Get', FAILED);
    await waitFor(async () => {
      // These calls reach the request volume of each endpoint, even if an interval has no other calls.
      await callOften(app, 90);
      return ejected().length > 0;
    }, WAIT_LIMITS);
    expect(ejected()).toEqual([unhealthy!.url]);
    unhealthy!.reset();
    for (let round = 0; round < 30; round++) await call(app);
    expect(unhealthy!.counts('Get').calls).toBe(0);
    const row = app.client.snapshot().connections.find(({ address }) => address === unhealthy!.url);
    expect(row).toMatchObject({ state: 'READY', ejected: { ejections: 1 } });
  });
});

describe('burst of calls on a channel that is idle otherwise', () => {
  it('ejects a failing endpoint after the burst by outlier detection, while no call is running', async () => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, {
      loadBalancing: [{ outlierDetection: { ...STANDARD, interval: '1s', childPolicy: [{ round_robin: {} }] } }],
    });
    servers[0]!.script('Get', FAILED);
    // Even if two intervals share the burst, one of them has enough calls.
    await callOften(app, 150);
    const callsBefore = servers.reduce((sum, server) => sum + server.counts('Get').calls, 0);
    await waitFor(() => ejected().length > 0, WAIT_LIMITS);
    expect(ejected()).toEqual([servers[0]!.url]);
    expect(servers.reduce((sum, server) => sum + server.counts('Get').calls, 0)).toBe(callsBefore);
  });
});

describe('silent endpoint', () => {
  it.each<[string, Partial<GrpcClientSettings>]>([
    ['without a timeout', {}],
    ['with an attempt timeout', { methods: { Get: { idempotent: true, attemptTimeoutMs: 300 } } }],
  ])('ejects an endpoint that does not respond to calls %s', async (_name, settings) => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, { ejectUnhealthy: true, ...settings });
    servers[0]!.script('Get', { never: true });
    const calls = new Subscription();
    onTestFinished(() => {
      calls.unsubscribe();
    });
    const start = () => {
      for (let started = 0; started < 6; started++)
        calls.add(app.orders.get({ id: '1' }).subscribe({ error: () => undefined }));
      return ejected().length > 0;
    };
    await waitFor(start, { ...WAIT_LIMITS, intervalMs: 50 });
    expect(ejected()).toEqual([servers[0]!.url]);
  });
});

describe('ejection of endpoints', () => {
  it('applies the outlier detection of a live service config', async () => {
    const servers = await startServers(3);
    const withRules = (rules: object) => ({
      loadBalancingConfig: [{ outlier_detection_experimental: { ...rules, childPolicy: [{ round_robin: {} }] } }],
    });
    const configs = new BehaviorSubject<object>({ loadBalancingConfig: [{ round_robin: {} }] });
    const { app, ejected } = await startClient(servers, { serviceConfig: configs });
    servers[0]!.script('Get', FAILED);
    await callOften(app, 200);
    expect(ejected()).toEqual([]);
    configs.next(withRules(STANDARD));
    await waitFor(async () => {
      await callOften(app, 20);
      return ejected().length > 0;
    }, WAIT_LIMITS);
    expect(ejected()).toEqual([servers[0]!.url]);
    const row = app.client.snapshot().connections.find(({ address }) => address === servers[0]!.url);
    expect(row).toMatchObject({ ejected: { ejections: 1 } });
  });

  it('uses an endpoint again after its ejection, and logs the ejection and the return', async () => {
    const servers = await startServers(3);
    const { app, events } = await startClient(servers, {
      loadBalancing: [
        { outlierDetection: { ...STANDARD, baseEjectionTime: '0.3s', childPolicy: [{ round_robin: {} }] } },
      ],
    });
    const [unhealthy] = servers;
    unhealthy!.script('Get', FAILED);
    await waitFor(async () => {
      await callOften(app, 50);
      return events.length > 0;
    });
    unhealthy!.script('Get', OK);
    await waitFor(async () => {
      await call(app);
      return events.some(({ change }) => change === 'returned');
    });
    const lines = aboveDebug(app).filter((line) => line.includes(`endpoint ${unhealthy!.url}`));
    expect(lines[0]).toMatch(/^warn: endpoint \S+ ejected for .*; calls use the other/);
    expect(lines[1]).toMatch(/^log: endpoint \S+ gets calls again \S.* after its ejection/);
  });

  it('uses an ejected endpoint again immediately, without an outage, if the only other endpoint disconnects', async () => {
    const servers = await startServers(2);
    const { app, ejected } = await startClient(servers, { ejectUnhealthy: true });
    const [unhealthy, other] = servers;
    unhealthy!.script('Get', FAILED);
    await waitFor(async () => {
      await callOften(app, 20);
      return ejected().length > 0;
    });
    unhealthy!.script('Get', OK);
    await other!.stop('kill-connections');
    await call(app);
    expect(app.client.snapshot().outages.total).toBe(0);
  });

  it('uses an ejected endpoint again immediately, without an outage, if the resolver removes all others', async () => {
    const servers = await startServers(3);
    const source = new AddressSource();
    source.resolve(servers.map(({ url }) => url));
    const { app, ejected } = await startClient(servers, { url: source.target, ejectUnhealthy: true });
    const [unhealthy] = servers;
    unhealthy!.script('Get', FAILED);
    await waitFor(async () => {
      await callOften(app, 20);
      return ejected().length > 0;
    });
    unhealthy!.script('Get', OK);
    const changes: unknown[] = [];
    app.client.events$.subscribe((event) => {
      if (event.type === 'connectivity') changes.push(event);
    });
    source.resolve([unhealthy!.url]);
    await waitFor(() => app.client.snapshot().resolution.addresses === 1);
    for (let calls = 0; calls < 10; calls++) await call(app);
    expect(changes).toEqual([]);
    expect(app.client.snapshot().outages.total).toBe(0);
  });

  it.each<[string, Reply]>([
    ['fails', FAILED],
    ['does not respond', { never: true }],
  ])('evaluates the calls of a callback client, and ejects an endpoint that %s', async (_, reply) => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, { ejectUnhealthy: true });
    const callbacks = callbackClient(app);
    const [unhealthy] = servers;
    unhealthy!.script('Get', reply);
    const calls: { cancel(): void }[] = [];
    await waitFor(
      () => {
        for (let started = 0; started < 6; started++) calls.push(callbacks.get({ id: '1' }, () => undefined));
        return ejected().length > 0;
      },
      { ...WAIT_LIMITS, intervalMs: 50 },
    );
    for (const one of calls) one.cancel();
    expect(ejected()).toEqual([unhealthy!.url]);
    unhealthy!.reset();
    for (let round = 0; round < 30; round++) await new Promise((resolve) => callbacks.get({ id: '1' }, resolve));
    expect(unhealthy!.counts('Get').calls).toBe(0);
  });

  it('does not eject an endpoint whose calls a callback client cancels', async () => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, { ejectUnhealthy: true });
    const callbacks = callbackClient(app);
    servers[0]!.script('Get', { never: true });
    for (let round = 0; round < 60; round++) {
      const ended = new Promise((resolve) => {
        const one = callbacks.get({ id: '1' }, resolve);
        setImmediate(() => {
          one.cancel();
        });
      });
      await ended;
    }
    expect(ejected()).toEqual([]);
  });

  it('ejects an endpoint with several addresses as a whole', async () => {
    const servers = await startServers(4);
    const [first, second, ...others] = servers;
    const source = new AddressSource();
    source.resolve([[first!.url, second!.url], ...others.map(({ url }) => url)]);
    const { app, ejected } = await startClient([first!, ...others], { url: source.target, ejectUnhealthy: true });
    for (const unhealthy of [first, second]) unhealthy!.script('Get', FAILED);
    await waitFor(async () => {
      await callOften(app, 20);
      return ejected().length > 0;
    });
    expect(ejected()).toEqual([first!.url]);
    await first!.stop('kill-connections');
    await waitFor(() => {
      const connected = app.client.snapshot().connections.filter(({ state }) => state === 'READY');
      return connected.some(({ address }) => address === second!.url);
    });
    for (let round = 0; round < 30; round++) await call(app);
    expect(second!.counts('Get').calls).toBe(0);
    expect(ejected()).toEqual([first!.url]);
  });

  it.each(['NOT_FOUND', 'INTERNAL', 'RESOURCE_EXHAUSTED'] as const)(
    'does not eject an endpoint whose application returns %s',
    async (status) => {
      const servers = await startServers(3);
      const { app, ejected } = await startClient(servers, { ejectUnhealthy: true });
      servers[0]!.script('Get', { status });
      await callOften(app, 200);
      expect(ejected()).toEqual([]);
    },
  );

  it('does not eject an endpoint whose calls are cancelled', async () => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, { ejectUnhealthy: true });
    servers[0]!.script('Get', { never: true });
    for (let round = 0; round < 60; round++) {
      const running = app.orders.get({ id: '1' }).subscribe();
      await waitFor(() => app.client.snapshot().active === 1);
      running.unsubscribe();
    }
    expect(ejected()).toEqual([]);
  });

  it('counts a lost connection as one failure of its endpoint, regardless of the number of calls on the connection', async () => {
    const servers = await startServers(3);
    const { app, ejected } = await startClient(servers, { ejectUnhealthy: true });
    servers[0]!.script('Get', { never: true });
    const calls = callOften(app, 60);
    await waitFor(() => servers[0]!.counts('Get').open >= 20);
    servers[0]!.script('Get', OK);
    await servers[0]!.restart('kill-connections');
    await calls;
    expect(ejected()).toEqual([]);
  });
});
