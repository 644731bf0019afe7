import { hostname } from 'node:os';
import { CanActivate, Controller, Injectable } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServer } from 'nestjs-resilient-grpc/server';
import { ChildServer, FaultProxy, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import type { Locator, Page } from 'playwright-core';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it, type TestContext } from 'vitest';
import { openPage, PLAIN_HOST, sharedBrowser, type WatchedPage, type WatchOptions } from '../support/browser.js';
import { isInstalled } from '../support/programs.js';
import { OrdersProcess } from '../support/orders-process.js';
import { ordersOf, ordersOptions } from '../server/served-orders.js';
import { recordTiming } from '../support/timing.js';
import { ORDERS_PROTO, startDashboardApp, type DashboardApp, type DashboardAppOptions } from './dashboard-app.js';

const held = {
  waiting: [] as (() => void)[],
  release(): void {
    for (const resolve of held.waiting.splice(0)) resolve();
  },
};

@Controller()
class HeldOrders {
  @GrpcMethod('Orders', 'Get')
  async get({ id }: { id: string }): Promise<object> {
    await new Promise<void>((resolve) => held.waiting.push(resolve));
    return { id };
  }
}

/** Generous limit for a condition of the page or of a client. */
const IN_TIME = { timeoutMs: 60_000 };

const UNREACHABLE = '127.0.0.1:1';
const ORDER = { requestId: '1', item: 'tea', quantity: 1 };

// Runs in a real browser: the one that the environment variable CHROMIUM names, or an installed Chromium or Chrome.
describe.skipIf(!isInstalled('Chromium'))('dashboard page', { timeout: 120_000 }, () => {
  const browser = sharedBrowser();

  // Tests mostly wait, so some run concurrently. Each test closes what it started.
  const start = async ({ onTestFinished }: TestContext, options: DashboardAppOptions): Promise<DashboardApp> => {
    const app = await startDashboardApp(options);
    onTestFinished(app.close);
    return app;
  };
  const open = async (
    { onTestFinished }: TestContext,
    url: string,
    options: WatchOptions = {},
  ): Promise<WatchedPage> => {
    const watched = await openPage(browser(), url, options);
    onTestFinished(watched.close);
    return watched;
  };
  /** Waits until `locator` is visible (or detached) and records the time, because a visitor must see a change within `atMost` ms. */
  const awaitChange = async (
    { task }: TestContext,
    change: string,
    locator: Locator,
    { atMost = 1_000, state = 'visible' }: { readonly atMost?: number; readonly state?: 'visible' | 'detached' } = {},
  ): Promise<void> => {
    const from = performance.now();
    await locator.waitFor({ state });
    recordTiming(task, `time until ${change}, ms`, performance.now() - from, { atMost });
  };
  // Time limit in milliseconds for a change that waits for the next scheduled update: the interval of 1 s, plus a margin of 500 ms.
  const NEXT_UPDATE_MS = 1_500;
  const clientsOf = (...names: readonly string[]) => names.map((name) => ({ name, url: UNREACHABLE }));

  it('shows the servers of the application, their concurrency limits, and an overload on the dashboard', async (test) => {
    const server = ordersOptions('127.0.0.1:0', { methods: { Get: { maxConcurrentCalls: { max: 1, queue: 1 } } } });
    const app = await start(test, { clients: clientsOf('orders'), server, controllers: [HeldOrders] });
    const { page, problems } = await open(test, `${app.url}/grpc`);
    const panel = page.getByRole('region', { name: 'Servers of this application' });
    await panel
      .getByRole('row', { name: /127\.0\.0\.1:0 Serving 0 0 orders\.v1\.Orders\/Get: 0 of 1 handler/ })
      .waitFor();
    const { client } = ordersOf(`127.0.0.1:${String(app.app.get(ResilientGrpcServer).port)}`);
    const ended: unknown[] = [];
    for (let call = 0; call < 3; call++) (client as any).get({ id: 'held' }, (error: unknown) => ended.push(error));
    await panel.getByRole('row', { name: /Overloaded for \d+ s 1 1 .*: 1 of 1 handler running, 1 waiting/ }).waitFor();
    await waitFor(() => {
      held.release();
      return ended.length === 3;
    }, IN_TIME);
    await panel.getByRole('row', { name: /Serving 0 1/ }).waitFor();
    expect(problems).toEqual([]);
  });

  it('shows an ejected endpoint and the share of a healthy one on the dashboard, but no endpoint table for a client with one address', async (test) => {
    const script = { protoPath: ORDERS_PROTO, scripts: { Get: { message: { id: '1' } } } };
    const servers = await Promise.all([1, 2, 3].map(() => ScriptedGrpcServer.start(script)));
    test.onTestFinished(async () => {
      await Promise.all(servers.map((server) => server.close()));
    });
    const { url, orders } = await start(test, {
      clients: [
        {
          name: 'orders',
          url: `ipv4:${servers.map((server) => server.url).join(',')}`,
          loadBalancing: 'round_robin',
          ejectUnhealthy: true,
        },
        { name: 'plain', url: UNREACHABLE },
      ],
    });
    const [unhealthy] = servers;
    unhealthy!.script('Get', { status: 'UNAVAILABLE' });
    const client = orders('orders');
    const { page, problems } = await open(test, `${url}/grpc`);
    await page.getByRole('link', { name: 'orders' }).click();
    const row = page
      .locator('table tr', { hasText: unhealthy!.url })
      .filter({ hasText: /ejected \(consecutive-failures\) for/ });
    await waitFor(async () => {
      await Promise.allSettled(Array.from({ length: 30 }, () => firstValueFrom(client.get({ id: '1' }))));
      return row.isVisible();
    }, IN_TIME);
    const healthy = page.locator('table tr', { hasText: servers[1]!.url }).filter({ hasText: /in use.*\d+%/ });
    await healthy.waitFor();
    await page.goto(`${url}/grpc`);
    await page.getByRole('link', { name: 'plain' }).click();
    await page.getByRole('heading', { name: 'Connections' }).waitFor();
    expect(await page.getByRole('heading', { name: 'Endpoints' }).isVisible()).toBe(false);
    expect(problems).toEqual([]);
  });

  it('marks on the dashboard an endpoint that gets no calls because it does not serve the service in healthCheckConfig', async (test) => {
    const script = new URL('../health/health-server.mjs', import.meta.url);
    const server = await ChildServer.start({ script });
    test.onTestFinished(() => server.close());
    const serviceConfig = { healthCheckConfig: { serviceName: 'Orders' } };
    const { url, orders } = await start(test, {
      clients: [{ name: 'orders', url: server.url, loadBalancing: 'round_robin', serviceConfig }],
    });
    const { page, problems } = await open(test, `${url}/grpc`);
    await firstValueFrom(orders('orders').get({ id: '1' })).catch(() => undefined);
    const cell = page.getByRole('table', { name: 'Endpoints' }).getByText('unknown-service');
    await cell.waitFor();
    expect(await cell.getAttribute('data-tone')).toBe('bad');
    expect(problems).toEqual([]);
  });

  it(
    'shows a server kill on the dashboard within a second, then the waiting calls, and finally as many calls as the server counts',
    { tags: ['timed'] },
    async (test) => {
      const server = await OrdersProcess.start();
      test.onTestFinished(() => server.close());
      const { url, orders } = await start(test, {
        clients: [{ name: 'orders', url: server.url, outageGraceMs: 600_000 }],
      });
      const client = orders('orders');
      for (let i = 0; i < 20; i++) await firstValueFrom(client.get({ id: String(i) }));
      const { page, problems } = await open(test, `${url}/grpc`);
      await page.getByRole('heading', { name: 'Healthy orders' }).waitFor();

      await server.kill();
      // No call needs a connection, so the client does not reconnect.
      await awaitChange(
        test,
        'the loss of the connection is shown',
        page.getByRole('heading', { name: 'Idle orders' }),
      );
      const held = Array.from({ length: 7 }, (_, i) => firstValueFrom(client.get({ id: `held ${i}` })));
      await awaitChange(test, 'the outage is shown', page.getByRole('heading', { name: 'Outage orders' }));
      await awaitChange(test, 'the waiting calls are shown', page.getByText(/7 waiting calls fail in .*ECONNREFUSED/));
      await page.getByText(/^Check that the server is running on this address and port.*\.$/).waitFor();
      expect(await fact(page, 'This outage', 'connection attempts')).toMatch(/^\d+ failed$/);
      const oldest = page.locator('.details > .facts > div', { hasText: 'oldest wait' }).locator('dd');
      await waitFor(async () => /^[1-9]\d*(\.\d)? s$/.test((await oldest.textContent()) ?? ''), IN_TIME);
      // The widths are percentages of the shown period.
      const widths = await page.evaluate<number[]>(
        `[...document.querySelectorAll('.details .stretch')].map(({ style }) => Number(style.flexGrow))`,
      );
      expect(widths.reduce((sum, width) => sum + width, 0)).toBeCloseTo(100, 0);
      expect(await page.locator('.stretch').last().getAttribute('data-state')).toBe('TRANSIENT_FAILURE');
      expect(await page.title()).toBe('1 of 1 unhealthy · gRPC clients');

      await server.restartAfter(0);
      await Promise.all(held);
      await awaitChange(test, 'the end of the outage is shown', page.getByRole('heading', { name: 'Healthy orders' }), {
        atMost: 3_000,
      });
      const past = page.getByRole('region', { name: 'Past outages' });
      await awaitChange(test, 'the past outage is shown', past.getByRole('cell', { name: /ECONNREFUSED/ }));
      const arrived = server.arrived().length;
      expect(arrived).toBe(27);
      await waitFor(async () => (await fact(page, 'Since creation', 'succeeded')) === String(arrived), IN_TIME);
      expect(await fact(page, 'Since creation', 'attempts')).toBe(String(arrived));
      expect(await fact(page, 'Since creation', 'failed')).toBe('0');
      const [row] = await rows(page, 'Methods');
      expect(row!.slice(0, 4)).toEqual(['/orders.v1.Orders/Get', 'unary', String(arrived), '0']);
      expect(row![7]).toMatch(/^[\d.<]+ (ms|s)$/);
      expect(problems).toEqual([]);
    },
  );

  it.for(['127.0.0.1', PLAIN_HOST])(
    'copies the doctor command and the snapshot from the dashboard by keyboard at http://%s',
    async (host, test) => {
      const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: { message: {} } } });
      test.onTestFinished(() => server.close());
      const { port, orders } = await start(test, {
        clients: [{ name: 'orders', url: server.url, tls: { serverName: 'orders.internal' }, outageGraceMs: 600_000 }],
      });
      const call = orders('orders')
        .get({ id: '1' })
        .subscribe({ error: () => undefined });
      test.onTestFinished(() => call.unsubscribe());
      const { page, problems } = await open(test, `http://${host}:${String(port)}/grpc`);
      expect(await page.evaluate('isSecureContext')).toBe(host === '127.0.0.1');
      await page.getByRole('heading', { name: 'Outage orders' }).waitFor();
      const copied = async (button: string) => {
        await page.getByRole('button', { name: button }).focus();
        await page.keyboard.press('Enter');
        await page.getByText('Copied.').waitFor();
        // The focus returns to the button.
        expect(await focused(page)).toBe(button);
        await page.evaluate(
          `document.body.append(document.createElement('textarea')), document.querySelector('textarea').focus()`,
        );
        await page.keyboard.press('Control+V');
        const text = await page.evaluate<string>(`document.querySelector('textarea').value`);
        await page.evaluate(`document.querySelector('textarea').remove()`);
        await page.getByText('Copied.').waitFor({ state: 'detached' });
        return text;
      };
      // The command has the client's TLS options.
      const command = `npx nestjs-resilient-grpc doctor ${server.url} --server-name orders.internal`;
      expect(await copied('Copy the command')).toBe(command);
      const snapshot = JSON.parse(await copied('Copy the snapshot (JSON)')) as Record<string, unknown>;
      expect(snapshot).toMatchObject({ version: 1, name: 'orders', doctorCommand: command, waiting: 1, methods: [{}] });
      expect(problems).toEqual([]);
    },
  );

  it('shows the details of errors and methods on the dashboard without horizontal scrolling on a phone', async (test) => {
    const details = 'an error message of an upstream server; without a line break, a phone would clip the final word';
    const server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: { status: 'INTERNAL', details } },
    });
    test.onTestFinished(() => server.close());
    const { url, orders } = await start(test, { clients: [{ name: 'orders', url: server.url }] });
    await firstValueFrom(orders('orders').get({ id: '1' })).catch(() => undefined);
    const { page } = await open(test, `${url}/grpc`, { viewport: { width: 390, height: 800 } });
    await page.getByText(details).first().waitFor();
    expect(await clippedTables(page)).toEqual([]);
    // The details have a separate row below their error.
    const cell = page.getByRole('region', { name: 'Last errors' }).locator('td.wide');
    expect((await cell.boundingBox())!.width).toBeGreaterThan(300);
    await page.getByRole('button', { name: 'calls' }).click();
  });

  it('shows external strings as text on the dashboard and never executes them', async (test) => {
    const evil = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
    const server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: { status: 'INTERNAL', details: evil } },
    });
    test.onTestFinished(() => server.close());
    const { url, orders } = await start(test, { clients: [{ name: evil, url: server.url }, ...clientsOf('other')] });
    await firstValueFrom(orders(evil).get({ id: '1' })).catch(() => undefined);
    const { page, problems } = await open(test, `${url}/grpc`);
    await page.getByRole('link', { name: evil }).click();
    await page.getByRole('heading', { name: evil }).waitFor();
    await page.getByRole('cell', { name: `server: ${evil} (${server.url})` }).waitFor();
    expect(await page.locator('main img, main script').count()).toBe(0);
    // Even if a script got into the page, the content security policy would block it.
    const refused = page.evaluate(
      `new Promise((resolve) => {
        addEventListener('securitypolicyviolation', ({ effectiveDirective }) => resolve(effectiveDirective));
        document.body.append(Object.assign(document.createElement('script'), { text: 'alert(3)' }));
      })`,
    );
    expect(await refused).toBe('script-src-elem');
    expect(problems.filter((problem) => !problem.includes('Content Security Policy'))).toEqual([]);
  });

  it(
    'shows clients on the dashboard as they are created and closed, distinguishes faults from errors caused by the request, and sorts methods by column',
    { tags: ['timed'] },
    async (test) => {
      const server = await ScriptedGrpcServer.start({
        protoPath: ORDERS_PROTO,
        scripts: {
          Get: Array.from({ length: 20 }, (_none, i) => (i < 2 ? { status: 'NOT_FOUND' } : { message: {} })),
          Create: { status: 'INTERNAL' },
        },
      });
      test.onTestFinished(() => server.close());
      const clients = ['reader', 'writer'].map((name) => ({ name, url: server.url }));
      const { url, orders, clients: all } = await start(test, { clients });
      for (let i = 0; i < 20; i++) await firstValueFrom(orders('reader').get({ id: '1' })).catch(() => undefined);
      for (let i = 0; i < 5; i++) await firstValueFrom(orders('writer').create(ORDER)).catch(() => undefined);
      const { page, problems } = await open(test, `${url}/grpc`);
      await page.getByText('1 of 2 clients is unhealthy.').waitFor();
      const cellsOf = (name: string) =>
        page
          .getByRole('row')
          .filter({ has: page.getByRole('link', { name }) })
          .locator('td.number');
      expect(await cellsOf('reader').nth(1).textContent()).toBe('2 (10%)');
      expect(await cellsOf('reader').nth(1).getAttribute('data-tone')).toBe('');
      expect(await cellsOf('writer').nth(1).textContent()).toBe('5 (100%)');
      expect(await cellsOf('writer').nth(1).getAttribute('data-tone')).toBe('bad');

      // The page also shows clients that are created at run time, and removes closed ones.
      all.create({ name: 'tenant', protoPath: ORDERS_PROTO, url: UNREACHABLE });
      const tenant = page.getByRole('link', { name: 'tenant' });
      await awaitChange(test, 'a new client is shown', tenant, { atMost: NEXT_UPDATE_MS });
      await all.get('tenant').close();
      await awaitChange(test, 'a closed client is removed', tenant, { atMost: NEXT_UPDATE_MS, state: 'detached' });

      await firstValueFrom(orders('reader').create(ORDER)).catch(() => undefined);
      await page.getByRole('link', { name: 'reader' }).click();
      await waitFor(async () => (await rows(page, 'Methods')).length === 2, IN_TIME);
      const order = async () => (await rows(page, 'Methods')).map(([path]) => path!.slice(path!.lastIndexOf('/') + 1));
      const table = page.getByRole('table', { name: 'Methods' });
      expect(await order()).toEqual(['Get', 'Create']);
      await table.getByRole('button', { name: 'calls' }).click();
      expect(await order()).toEqual(['Create', 'Get']);
      expect(await table.locator('[aria-sort=ascending]').textContent()).toBe('calls');
      await table.getByRole('button', { name: 'method' }).click();
      expect(await order()).toEqual(['Create', 'Get']);
      await table.getByRole('button', { name: 'method' }).click();
      expect(await order()).toEqual(['Get', 'Create']);
      // A method without a successful call has no latency. Its row sorts as if its latency were lower than all others.
      await table.getByRole('button', { name: 'method' }).click();
      await table.getByRole('button', { name: 'p50' }).click();
      expect(await order()).toEqual(['Get', 'Create']);
      await table.getByRole('button', { name: 'p50' }).click();
      expect(await order()).toEqual(['Create', 'Get']);
      expect(
        await page
          .getByRole('region', { name: 'Last errors' })
          .getByText('NOT_FOUND', { exact: true })
          .getAttribute('data-tone'),
      ).toBe('');

      // A hash typed by hand may be malformed.
      await page.evaluate(`location.hash = '#client=100%'`);
      await awaitChange(test, 'an unknown client is reported', page.getByText('There is no client ‘100%’.'));
      expect(problems).toEqual([]);
    },
  );

  it('shows on the dashboard which process responds, and reloads the page at most once per library version', async (test) => {
    const { url } = await start(test, { clients: clientsOf('orders', 'audit') });
    const { page, problems } = await open(test, `${url}/grpc`);
    let loads = 0;
    // The responses alternate between two releases, as if a load balancer distributed the requests during a deployment.
    await page.route('**/grpc/events', async (route) => {
      const clients = JSON.stringify({
        at: Date.now(),
        accepting: true,
        total: 0,
        process: { host: 'here', pid: 7, release: `0.0.${String((loads += 1) % 2)}` },
        sampleFields: [],
        samples: [],
        clients: [],
      });
      await route.fulfill({
        contentType: 'text/event-stream',
        body: `retry: 50\n\nevent: whole\ndata: ${clients}\n\n`,
      });
    });
    let navigations = 0;
    page.on('load', () => (navigations += 1));
    await page.reload();
    await page.getByText('here, process 7').waitFor();
    await waitFor(() => loads > 10, IN_TIME);
    // The test reloads the page once, and the page reloads itself at most once per release.
    expect(navigations).toBeLessThanOrEqual(3);
    expect(navigations).toBeGreaterThan(1);
    await page.unroute('**/grpc/events');
    await page.getByText(`${hostname()}, process ${String(process.pid)}`).waitFor();
    expect(problems).toEqual([]);
  });

  it(
    'lists fifty clients on the dashboard, the worst first, and supports keyboard navigation',
    { tags: ['timed'] },
    async (test) => {
      const names = Array.from({ length: 49 }, (_, i) => `tenant-${String(i + 1).padStart(2, '0')}`);
      const { url, orders } = await start(test, {
        clients: [...clientsOf(...names), { name: 'zebra', url: UNREACHABLE, outageGraceMs: 300 }],
      });
      firstValueFrom(orders('zebra').get({ id: '1' })).catch(() => undefined);
      const { page, problems } = await open(test, `${url}/grpc`);
      await page.getByText('1 of 50 clients is unhealthy.').waitFor();
      const links = page.locator('.clients a');
      expect(await links.count()).toBe(50);
      expect(await links.first().textContent()).toBe('zebra');
      expect(await links.nth(1).textContent()).toBe('tenant-01');

      await page.keyboard.press('/');
      await page.keyboard.type('tenant-4');
      await awaitChange(test, 'the filtered list is shown', page.getByText('10 of 50 clients'));
      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('tenant-40');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowUp');
      expect(await focused(page)).toBe('tenant-41');
      // The focus is visible.
      expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid');
      await page.keyboard.press('Enter');
      await awaitChange(test, 'the details are shown', page.getByRole('heading', { name: 'Idle tenant-41' }));
      expect(await focused(page)).toContain('tenant-41');
      // Tab moves the focus through all elements and then out of the page, so there is no keyboard trap.
      const seen = new Set<string>();
      for (let i = 0; i < 40 && (await focused(page)) !== ''; i++) {
        await page.keyboard.press('Tab');
        seen.add(await focused(page));
      }
      expect(seen).toContain('');
      await page.keyboard.press('Escape');
      await awaitChange(test, 'the list is shown again', page.getByRole('searchbox'));
      expect(await page.getByRole('searchbox').inputValue()).toBe('tenant-4');
      expect(problems).toEqual([]);
    },
  );

  it('opens the first client of the filtered dashboard list with Enter, and clears the filter with Escape', async (test) => {
    const { url } = await start(test, { clients: clientsOf('orders', 'audit', 'billing') });
    const { page, problems } = await open(test, `${url}/grpc`);
    const filter = page.getByRole('searchbox');
    const links = page.locator('.clients a');
    await links.nth(2).waitFor();
    await page.keyboard.press('/');
    await page.keyboard.type('bill');
    await waitFor(async () => (await links.count()) === 1, IN_TIME);
    await page.keyboard.press('Escape');
    await waitFor(async () => (await links.count()) === 3, IN_TIME);
    expect(await filter.inputValue()).toBe('');
    await page.keyboard.press('ArrowDown');
    expect(await focused(page)).toBe(await links.first().textContent());
    await page.keyboard.press('/');
    await page.keyboard.type('bill');
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Idle billing' }).waitFor();
    expect(problems).toEqual([]);
  });

  it.concurrent(
    'shows the shutdown of the application on the dashboard, then the lack of a response, and resumes with a new application',
    { tags: ['timed'] },
    async (test) => {
      const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: { message: {} } } });
      test.onTestFinished(() => server.close());
      const clients = [{ name: 'orders', url: server.url }];
      const before = await startDashboardApp({ clients, readinessDelayMs: 1_500 });
      await firstValueFrom(before.orders('orders').get({ id: '1' }));
      const { page, problems, sighted } = await open(test, `${before.url}/grpc`, {
        ignored: /net::ERR_|Failed to load resource/,
        sightings: {
          'the shutdown': { selector: '.link', text: 'Shutting down' },
          'the lack of a response': { selector: '.link', text: 'No response' },
        },
      });
      await page.getByText('Live', { exact: true }).waitFor();
      await waitFor(async () => (await fact(page, 'Since creation', 'succeeded')) === '1', IN_TIME);

      const closeCalledAt = await page.evaluate<number>('performance.now()');
      await before.close();
      // The page shows the shutdown only while the application responds.
      const closedAt = await page.evaluate<number>('performance.now()');
      const [shutdown, end] = [await sighted('the shutdown'), await sighted('the lack of a response')];
      expect(shutdown).toBeLessThan(end);
      recordTiming(test.task, 'time from close() until the page shows the shutdown, ms', shutdown - closeCalledAt, {
        atMost: 1_000,
      });
      recordTiming(test.task, 'time from the end of close() until the page shows "No response", ms', end - closedAt, {
        atMost: 4_000,
      });
      await page.getByText('No response', { exact: true }).waitFor();
      const asItWas = page.getByText(/^as of .*, \d+ s ago$/);
      await asItWas.waitFor();
      expect(await page.locator('.dashboard.stale').count()).toBe(1);
      const [age, detailsBefore] = [await asItWas.textContent(), await page.locator('.details').textContent()];
      await waitFor(async () => (await asItWas.textContent()) !== age, IN_TIME);
      // Stale details do not change.
      expect(await page.locator('.details').textContent()).toBe(detailsBefore);

      await start(test, { clients, port: before.port });
      await awaitChange(test, 'the new application is shown', page.getByText('Live', { exact: true }), {
        atMost: 5_000,
      });
      await waitFor(async () => (await fact(page, 'Since creation', 'succeeded')) === '0', IN_TIME);
      expect(await page.locator('.dashboard.stale').count()).toBe(0);
      expect(problems).toEqual([]);
    },
  );

  it.concurrent('shows the drain of a client and its result on the dashboard', { tags: ['timed'] }, async (test) => {
    const server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: { hold: 'everything' } },
    });
    test.onTestFinished(() => server.close());
    const { url, orders, clients } = await start(test, { clients: [{ name: 'orders', url: server.url }] });
    const calls = [
      firstValueFrom(orders('orders').get({ id: '1' })),
      firstValueFrom(orders('orders').get({ id: '2' })),
    ];
    const { page, problems } = await open(test, `${url}/grpc`);
    await page.getByRole('heading', { name: 'Healthy orders' }).waitFor();
    const drained = clients.get('orders').drain({ timeoutMs: 600_000 });
    await awaitChange(test, 'the drain is shown', page.getByRole('heading', { name: 'Draining orders' }), {
      atMost: NEXT_UPDATE_MS,
    });
    expect(await fact(page, 'Drain', 'still running')).toBe('2');
    server.release();
    await Promise.allSettled([...calls, drained]);
    await awaitChange(test, 'the end of the drain is shown', page.getByRole('heading', { name: 'Closed orders' }), {
      atMost: NEXT_UPDATE_MS,
    });
    expect(await fact(page, 'Drain', 'calls finished')).toBe('2');
    expect(problems).toEqual([]);
  });

  it.concurrent(
    'shows the reason on the dashboard if there is no data: no clients, no calls, no updates, or no permission',
    { tags: ['timed'] },
    async (test) => {
      let isAdmitting = true;
      @Injectable()
      class SwitchGuard implements CanActivate {
        canActivate = () => isAdmitting;
      }
      const { url, clients } = await start(test, { dashboard: { guards: [SwitchGuard] } });
      const proxy = await FaultProxy.start(new URL(url).host);
      test.onTestFinished(() => proxy.close());
      const { page } = await open(test, `http://${proxy.url}/grpc`, { ignored: /403/ });
      await page.getByText('No clients yet.').waitFor();
      clients.create({ name: 'late', protoPath: ORDERS_PROTO, url: UNREACHABLE });
      await awaitChange(test, 'the first client is shown', page.getByRole('heading', { name: 'Idle late' }), {
        atMost: NEXT_UPDATE_MS,
      });
      for (const text of ['No calls yet.', 'No outages yet.', 'No open streams.', 'No failed calls.'])
        await page.getByText(text).first().waitFor();

      proxy.holdBytes('both');
      await awaitChange(test, 'silence is reported', page.getByText('No updates', { exact: true }), { atMost: 5_000 });
      isAdmitting = false;
      proxy.releaseBytes('both');
      proxy.resetAll();
      await awaitChange(test, 'the refusal is shown', page.getByText('Forbidden', { exact: true }), { atMost: 5_000 });
      await page.getByText('Access to this page was denied: 403.').waitFor();
    },
  );

  it.for(['light', 'dark'] as const)(
    'shows the dashboard page with sufficient contrast and without horizontal scrolling in %s mode',
    async (colorScheme, test) => {
      const { url } = await start(test, { clients: clientsOf('orders', 'audit') });
      const watched = await open(test, `${url}/grpc`, {
        colorScheme,
        reducedMotion: 'reduce',
        viewport: { width: 360, height: 700 },
      });
      const { page } = watched;
      await page.getByRole('link', { name: 'orders' }).waitFor();
      const [background, ...inks] = await page.evaluate<string[]>(
        `['--card', '--ink', '--dim', '--ok', '--bad', '--wait', '--ours']
        .map((name) => getComputedStyle(document.documentElement).getPropertyValue(name))`,
      );
      expect(luminance(background!) > 0.5).toBe(colorScheme === 'light');
      // WCAG AA requires a contrast of at least 4.5.
      for (const ink of inks)
        expect(contrast(ink, background!), `${ink} on ${background!}`).toBeGreaterThanOrEqual(4.5);
      // Nothing overflows on a phone, in either the list or the details.
      for (const link of ['orders', undefined]) {
        expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
        if (link) await page.getByRole('link', { name: link }).click();
        if (link) await page.getByRole('heading', { name: link }).waitFor();
      }
      expect(watched.problems).toEqual([]);
    },
  );
});

/** Text of each table that is wider than its panel. */
function clippedTables(page: Page): Promise<readonly string[]> {
  return page.evaluate<string[]>(
    `[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)`,
  );
}

/** Value of a named fact in a region of the page. */
async function fact(page: Page, part: string, name: string): Promise<string | null> {
  const facts = page.getByRole('region', { name: part }).locator('dl > div');
  return facts
    .filter({ has: page.locator(`dt:text-is("${name}")`) })
    .locator('dd')
    .textContent();
}

async function rows(page: Page, table: string): Promise<string[][]> {
  const all = await page.getByRole('table', { name: table }).locator('tbody tr').all();
  return Promise.all(all.map((row) => row.locator('td').allTextContents()));
}

/** Text of the focused element, or its tag name if it has no text; empty if the page itself has the focus. */
async function focused(page: Page): Promise<string> {
  return page.evaluate<string>(
    `document.activeElement === document.body ? '' : document.activeElement.textContent || document.activeElement.tagName`,
  );
}

function luminance(color: string): number {
  const hex = color.trim().replace(/^#(.)(.)(.)$/, '#$1$1$2$2$3$3');
  const [r, g, b] = [1, 3, 5].map((at) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(a: string, b: string): number {
  const [light, dark] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (light + 0.05) / (dark + 0.05);
}
