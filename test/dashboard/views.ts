import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import type { Page } from 'playwright-core';
import { firstValueFrom, type Subscription } from 'rxjs';
import { ordersOptions } from '../server/served-orders.js';
import { ORDERS_PROTO, startDashboardApp } from './dashboard-app.js';

/** A view of the page, produced by real calls and faults. */
export interface View {
  readonly name: string;
  readonly url: string;
  /** Resolves when the page shows the view. */
  ready(page: Page): Promise<unknown>;
}

/** All views, and the applications and servers that they show. */
export interface Views {
  readonly all: readonly View[];
  close(): Promise<void>;
}

const UNREACHABLE = '127.0.0.1:1';
const ORDER = { requestId: '1', item: 'tea', quantity: 1 };
/** Error details with a long path that has no line-break opportunity. */
const LONG_DETAILS =
  'cannot read the order: relation "orders_by_customer_and_region" does not exist in /var/lib/postgresql/data/pg_tblspc/16385/PG_16_202307071/16386';

/** Ejects the failing endpoint for longer than the views take, whereas an ejection by `ejectUnhealthy` may end after 27 s. */
const EJECTION = {
  interval: '0.2s',
  baseEjectionTime: '300s',
  failurePercentageEjection: { threshold: 50, minimumHosts: 2, requestVolume: 5 },
};

const held: (() => void)[] = [];

@Controller()
class HeldOrders {
  @GrpcMethod('Orders', 'Get')
  async get({ id }: { id: string }): Promise<object> {
    await new Promise<void>((resolve) => held.push(resolve));
    return { id };
  }
}

/** Starts the applications that the views show. */
export async function startViews(): Promise<Views> {
  const closing: (() => Promise<unknown>)[] = [];
  const serve = async (scripts: Parameters<typeof ScriptedGrpcServer.start>[0]['scripts']) => {
    const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts });
    closing.push(() => server.close());
    return server;
  };
  const answering = { Get: { message: { id: '1' } } };
  const [steady, lost, ...replicas] = await Promise.all([
    serve({ ...answering, Create: { status: 'INTERNAL', details: LONG_DETAILS }, Watch: { hold: 'everything' } }),
    serve(answering),
    serve(answering),
    serve(answering),
    serve({ Get: { status: 'UNAVAILABLE', details: 'the failing replica' } }),
  ]);
  const server = ordersOptions('127.0.0.1:0', { methods: { Get: { maxConcurrentCalls: { max: 1, queue: 1 } } } });
  const several = await startDashboardApp({
    server,
    controllers: [HeldOrders],
    clients: [
      { name: 'orders', url: steady.url },
      { name: 'billing', url: lost.url, outageGraceMs: 600_000 },
      {
        name: 'inventory-of-all-warehouses-in-the-northern-region',
        url: `ipv4:${replicas.map(({ url }) => url).join(',')}`,
        loadBalancing: [{ outlierDetection: { ...EJECTION, childPolicy: [{ round_robin: {} }] } }],
        // On a busy machine, idle connections would close after the default of 200 s, before the last view is checked.
        connections: { idleMs: 600_000 },
      },
      { name: 'payments', url: UNREACHABLE, outageGraceMs: 300 },
      { name: 'search', url: UNREACHABLE },
      {
        name: 'breaker',
        url: steady.url,
        methods: {
          Create: { circuitBreaker: { minimumThroughput: 3, breakDurationMs: 600_000, statusCodes: ['INTERNAL'] } },
        },
      },
      { name: 'self', url: UNREACHABLE },
    ],
  });
  closing.push(several.close);
  const calls: Subscription[] = [];
  const call = (client: string, id = '1') =>
    calls.push(
      several
        .orders(client)
        .get({ id })
        .subscribe({ error: () => undefined }),
    );
  const makeCalls = (client: string, times: number) =>
    Promise.allSettled(Array.from({ length: times }, () => firstValueFrom(several.orders(client).get({ id: '1' }))));

  await makeCalls('orders', 40);
  await Promise.allSettled(
    ['orders', 'breaker', 'breaker', 'breaker', 'breaker'].map((client) =>
      firstValueFrom(several.orders(client).create(ORDER)),
    ),
  );
  calls.push(
    several
      .orders('orders')
      .watch({ from: '0' })
      .subscribe({ error: () => undefined }),
  );
  // The client `billing` has a past outage and a current one, in which calls wait. `payments` is down: its grace period has passed.
  await makeCalls('billing', 20);
  await lost.stop('kill-connections');
  call('billing');
  const billing = several.clients.get('billing');
  await waitFor(() => billing.connectivity.outage !== undefined);
  await lost.restart();
  await waitFor(() => billing.snapshot().outages.latest.length === 1, { timeoutMs: 30_000 });
  await lost.stop('kill-connections');
  for (let waiting = 0; waiting < 7; waiting++) call('billing', String(waiting));
  await makeCalls('payments', 3);
  const inventory = several.clients.get('inventory-of-all-warehouses-in-the-northern-region');
  await waitFor(
    async () => {
      await makeCalls(inventory.name, 30);
      return inventory.snapshot().connections.some(({ ejected }) => ejected !== undefined);
    },
    { timeoutMs: 60_000 },
  );
  // This application makes three calls to a server that runs one call and queues one.
  const own = await startDashboardApp({
    clients: [
      { name: 'own', url: `127.0.0.1:${String(several.app.get(ResilientGrpcServer).port)}` },
      { name: 'other', url: UNREACHABLE },
    ],
  });
  closing.push(own.close);
  for (let running = 0; running < 3; running++)
    calls.push(
      own
        .orders('own')
        .get({ id: '1' })
        .subscribe({ error: () => undefined }),
    );
  await waitFor(() => several.app.get(ResilientGrpcServer).overload().since !== undefined);

  const single = await startDashboardApp({ clients: [{ name: 'payments', url: UNREACHABLE, outageGraceMs: 600_000 }] });
  closing.push(single.close);
  const alone = single.orders('payments').get({ id: '1' });
  calls.push(alone.subscribe({ error: () => undefined }));
  const empty = await startDashboardApp();
  closing.push(empty.close);
  const many = await startDashboardApp({
    clients: Array.from({ length: 60 }, (_none, i) => ({
      name: `tenant-${String(i + 1).padStart(2, '0')}`,
      url: UNREACHABLE,
    })),
  });
  closing.push(many.close);

  const view = (name: string, url: string, ready: View['ready']): View => ({ name, url: `${url}/grpc`, ready });
  const details = (name: string, word: string) => ({
    ...view(name, several.url, (page) => page.getByRole('heading', { name: new RegExp(`^(${word}) `) }).waitFor()),
    url: `${several.url}/grpc#client=${encodeURIComponent(name)}`,
  });
  return {
    all: [
      view('several clients and an overloaded server', several.url, (page) =>
        page.getByRole('row', { name: /Overloaded for/ }).waitFor(),
      ),
      { ...details('orders', 'Failing|Healthy|Recovered'), name: 'connected' },
      { ...details('billing', 'Outage'), name: 'outage' },
      { ...details('payments', 'Down'), name: 'down' },
      { ...details('breaker', 'Circuit open'), name: 'circuit open' },
      { ...details(inventory.name, 'Failing|Healthy|Recovered'), name: 'endpoints with an ejection' },
      view('a single client', single.url, (page) => page.getByRole('heading', { name: /^Outage payments/ }).waitFor()),
      view('empty', empty.url, (page) => page.getByText('No clients yet.').waitFor()),
      view('many clients', many.url, (page) => page.getByText('showing 50 of 60 clients').waitFor()),
      {
        ...view('an unknown client', several.url, (page) => page.getByText('There is no client').waitFor()),
        url: `${several.url}/grpc#client=unknown`,
      },
    ],
    close: async () => {
      for (const one of calls) one.unsubscribe();
      for (const release of held.splice(0)) release();
      // Closes clients before servers, because the server in `several` waits for its open calls.
      for (const close of closing.reverse()) await close();
    },
  };
}
