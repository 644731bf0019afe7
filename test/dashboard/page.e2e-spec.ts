import { hostname } from 'node:os';
import { CanActivate, Injectable } from '@nestjs/common';
import { FaultProxy, ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import type { Browser, Locator, Page } from 'playwright-core';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { openPage, startBrowser, type WatchedPage, type WatchOptions } from '../support/browser.js';
import { isInstalled } from '../support/programs.js';
import { OrdersProcess } from '../support/orders-process.js';
import { recordTiming } from '../support/timing.js';
import { ORDERS_PROTO, startDashboardApp, type DashboardApp, type DashboardAppOptions } from './dashboard-app.js';

/** A condition of the page or of a client holds by then, if it ever does. */
const IN_TIME = { timeoutMs: 60_000 };

const NOBODY = '127.0.0.1:1';
const ORDER = { requestId: '1', item: 'tea', quantity: 1 };

// Looked at in a real browser, which is found where a distribution puts it.
describe.skipIf(!isInstalled('Chromium'))('the page of the dashboard', { timeout: 120_000 }, () => {
  let leaks: ReturnType<typeof captureLeaks>;
  let browser: Browser;
  beforeAll(async () => {
    browser = await startBrowser();
    // The pipes of the browser are its own: its processes take their time to let go of them.
    leaks = captureLeaks();
  }, 90_000);
  afterAll(async () => {
    await leaks.settled({ timeoutMs: 60_000 });
    await browser.close();
  }, 90_000);

  // Most of the time of a test is waiting, so some of them run side by side, and each ends what it has started.
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
    const watched = await openPage(browser, url, options);
    onTestFinished(watched.close);
    return watched;
  };
  /** Waits until `page` has (or no longer has) `locator`, and records how long that takes: a visitor sees a change within `atMost` ms. */
  const changed = async (
    { task }: TestContext,
    change: string,
    locator: Locator,
    { atMost = 1_000, state = 'visible' }: { readonly atMost?: number; readonly state?: 'visible' | 'detached' } = {},
  ): Promise<void> => {
    const from = performance.now();
    await locator.waitFor({ state });
    recordTiming(task, `${change} after, ms`, performance.now() - from, { atMost });
  };
  const clientsOf = (...names: readonly string[]) => names.map((name) => ({ name, url: NOBODY }));

  it(
    'shows a kill within a second, who waits, and in the end what the server counted',
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
      await page.getByRole('heading', { name: 'Well orders' }).waitFor();

      await server.kill();
      // Nobody needs a connection, so none is looked for.
      await changed(test, 'the loss of the connection shown', page.getByRole('heading', { name: 'Idle orders' }));
      const held = Array.from({ length: 7 }, (_, i) => firstValueFrom(client.get({ id: `held ${i}` })));
      await changed(test, 'the outage shown', page.getByRole('heading', { name: 'Outage orders' }));
      await changed(test, 'the waiting calls shown', page.getByText(/7 calls wait, and fail in .*ECONNREFUSED/));
      expect(await fact(page, 'This outage', 'attempts to connect')).toMatch(/^\d+ ha(s|ve) failed$/);
      const oldest = page.locator('.details > .facts > div', { hasText: 'oldest wait' }).locator('dd');
      await waitFor(async () => /^[1-9]\d*(\.\d)? s$/.test((await oldest.textContent()) ?? ''), IN_TIME);
      // As wide as they were long.
      const widths = await page.evaluate<number[]>(
        `[...document.querySelectorAll('.details .stretch')].map(({ style }) => Number(style.flexGrow))`,
      );
      expect(widths.reduce((sum, width) => sum + width, 0)).toBeCloseTo(100, 0);
      expect(await page.locator('.stretch').last().getAttribute('data-state')).toBe('TRANSIENT_FAILURE');
      expect(await page.title()).toBe('1 of 1 in trouble · gRPC clients');

      await server.restartAfter(0);
      await Promise.all(held);
      await changed(test, 'the end of the outage shown', page.getByRole('heading', { name: 'Well orders' }), {
        atMost: 3_000,
      });
      const past = page.getByRole('region', { name: 'Past outages' });
      await changed(test, 'the past outage shown', past.getByRole('cell', { name: /ECONNREFUSED/ }));
      const arrived = server.arrived().length;
      expect(arrived).toBe(27);
      await waitFor(async () => (await fact(page, 'Since it was made', 'succeeded')) === String(arrived), IN_TIME);
      expect(await fact(page, 'Since it was made', 'attempts')).toBe(String(arrived));
      expect(await fact(page, 'Since it was made', 'failed')).toBe('0');
      const [row] = await rows(page, 'Methods');
      expect(row!.slice(0, 4)).toEqual(['/orders.v1.Orders/Get', 'unary', String(arrived), '0']);
      expect(row![7]).toMatch(/^[\d.<]+ (ms|s)$/);
      expect(problems).toEqual([]);
    },
  );

  it('shows the details of errors and methods on a telephone without scrolling sideways', async (test) => {
    const details = 'a text of an upstream that is as long as such texts are, and has its meaning in its last word';
    const server = await ScriptedGrpcServer.start({
      protoPath: ORDERS_PROTO,
      scripts: { Get: { status: 'INTERNAL', details } },
    });
    test.onTestFinished(() => server.close());
    const { url, orders } = await start(test, { clients: [{ name: 'orders', url: server.url }] });
    await firstValueFrom(orders('orders').get({ id: '1' })).catch(() => undefined);
    const { page } = await open(test, `${url}/grpc`, { viewport: { width: 390, height: 800 } });
    await page.getByText(details).first().waitFor();
    const sideways = await page.evaluate<string[]>(
      `[...document.querySelectorAll('.scroll')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)`,
    );
    expect(sideways).toEqual([]);
    // With a row of its own, below what it belongs to.
    const cell = page.getByRole('region', { name: 'Last errors' }).locator('td.wide');
    expect((await cell.boundingBox())!.width).toBeGreaterThan(300);
    await page.getByRole('button', { name: 'calls' }).click();
  });

  it('shows what comes from outside as text, and nothing it says is done', async (test) => {
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
    // And if something of it got in all the same, the policy would not run it.
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
    'tells what is in trouble from requests that were wrong, and sorts by what one likes',
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
      await page.getByText('1 of 2 clients is in trouble.').waitFor();
      const cellsOf = (name: string) =>
        page
          .getByRole('row')
          .filter({ has: page.getByRole('link', { name }) })
          .locator('td.number');
      expect(await cellsOf('reader').nth(1).textContent()).toBe('2 (10 %)');
      expect(await cellsOf('reader').nth(1).getAttribute('data-tone')).toBe('');
      expect(await cellsOf('writer').nth(1).textContent()).toBe('5 (100 %)');
      expect(await cellsOf('writer').nth(1).getAttribute('data-tone')).toBe('bad');

      // Who comes and goes does so here, too.
      all.create({ name: 'tenant', protoPath: ORDERS_PROTO, url: NOBODY });
      const tenant = page.getByRole('link', { name: 'tenant' });
      await changed(test, 'a new client shown', tenant, { atMost: 1_500 });
      await all.get('tenant').close();
      await changed(test, 'a closed client removed', tenant, { atMost: 1_500, state: 'detached' });

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
      // A method no call of which succeeded has no latency: it is below all others.
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

      // Whoever writes an address by hand writes it as it comes.
      await page.evaluate(`location.hash = '#client=100%'`);
      await changed(test, 'an unknown client reported', page.getByText('There is no client ‘100%’ (any more).'));
      expect(problems).toEqual([]);
    },
  );

  it('says which process answers, and loads itself anew, once, when that is of another release', async (test) => {
    const { url } = await start(test, { clients: clientsOf('orders', 'audit') });
    const { page, problems } = await open(test, `${url}/grpc`);
    let loads = 0;
    // Each time another release, as behind a balancer in the middle of a deploy.
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
    // Once for each release that it met.
    expect(navigations).toBeLessThanOrEqual(3);
    expect(navigations).toBeGreaterThan(1);
    await page.unroute('**/grpc/events');
    await page.getByText(`${hostname()}, process ${String(process.pid)}`).waitFor();
    expect(problems).toEqual([]);
  });

  it(
    'shows fifty clients, the worst first, and can be used with the keyboard alone',
    { tags: ['timed'] },
    async (test) => {
      const names = Array.from({ length: 49 }, (_, i) => `tenant-${String(i + 1).padStart(2, '0')}`);
      const { url, orders } = await start(test, {
        clients: [...clientsOf(...names), { name: 'zebra', url: NOBODY, outageGraceMs: 300 }],
      });
      firstValueFrom(orders('zebra').get({ id: '1' })).catch(() => undefined);
      const { page, problems } = await open(test, `${url}/grpc`);
      await page.getByText('1 of 50 clients is in trouble.').waitFor();
      const links = page.locator('.clients a');
      expect(await links.count()).toBe(50);
      expect(await links.first().textContent()).toBe('zebra');
      expect(await links.nth(1).textContent()).toBe('tenant-01');

      await page.keyboard.press('/');
      await page.keyboard.type('tenant-4');
      await changed(test, 'the filtered list shown', page.getByText('10 of 50 clients'));
      await page.keyboard.press('Tab');
      expect(await focused(page)).toBe('tenant-40');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowDown');
      await page.keyboard.press('ArrowUp');
      expect(await focused(page)).toBe('tenant-41');
      // It is to be seen where one is.
      expect(await page.evaluate('getComputedStyle(document.activeElement).outlineStyle')).toBe('solid');
      await page.keyboard.press('Enter');
      await changed(test, 'the details shown', page.getByRole('heading', { name: 'Idle tenant-41' }));
      expect(await focused(page)).toContain('tenant-41');
      // Through everything there is, and out again at its end: no trap.
      const seen = new Set<string>();
      for (let i = 0; i < 40 && (await focused(page)) !== ''; i++) {
        await page.keyboard.press('Tab');
        seen.add(await focused(page));
      }
      expect(seen).toContain('');
      await page.keyboard.press('Escape');
      await changed(test, 'the list shown again', page.getByRole('searchbox'));
      expect(await page.getByRole('searchbox').inputValue()).toBe('tenant-4');
      expect(problems).toEqual([]);
    },
  );

  it.concurrent(
    'says that it is shutting down, then that nobody answers, and goes on by itself when there is somebody again',
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
          'the end': { selector: '.link', text: 'No answer' },
        },
      });
      await page.getByText('Live', { exact: true }).waitFor();
      await waitFor(async () => (await fact(page, 'Since it was made', 'succeeded')) === '1', IN_TIME);

      await before.close();
      // The page shows the shutdown for no longer than the application answers.
      const closedAt = await page.evaluate<number>('performance.now()');
      const [shutdown, end] = [await sighted('the shutdown'), await sighted('the end')];
      expect(shutdown).toBeLessThan(end);
      recordTiming(test.task, 'the shutdown shown after the application closed, ms', shutdown - closedAt, {
        atMost: 1_000,
      });
      recordTiming(test.task, 'the end shown after the shutdown, ms', end - closedAt, { atMost: 4_000 });
      await page.getByText('No answer', { exact: true }).waitFor();
      const asItWas = page.getByText(/^as it was at .*, \d+ s ago$/);
      await asItWas.waitFor();
      expect(await page.locator('.dashboard.stale').count()).toBe(1);
      const [age, stood] = [await asItWas.textContent(), await page.locator('.details').textContent()];
      await waitFor(async () => (await asItWas.textContent()) !== age, IN_TIME);
      // What is old does not age as if somebody knew.
      expect(await page.locator('.details').textContent()).toBe(stood);

      await start(test, { clients, port: before.port });
      await changed(test, 'the new application shown', page.getByText('Live', { exact: true }), { atMost: 5_000 });
      await waitFor(async () => (await fact(page, 'Since it was made', 'succeeded')) === '0', IN_TIME);
      expect(await page.locator('.dashboard.stale').count()).toBe(0);
      expect(problems).toEqual([]);
    },
  );

  it.concurrent('shows a drain while it lasts, and what came of it', { tags: ['timed'] }, async (test) => {
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
    await page.getByRole('heading', { name: 'Well orders' }).waitFor();
    const drained = clients.get('orders').drain({ timeoutMs: 600_000 });
    await changed(test, 'the drain shown', page.getByRole('heading', { name: 'Draining orders' }), { atMost: 1_200 });
    expect(await fact(page, 'Drain', 'still running')).toBe('2');
    server.release();
    await Promise.allSettled([...calls, drained]);
    await changed(test, 'the end of the drain shown', page.getByRole('heading', { name: 'Closed orders' }), {
      atMost: 1_200,
    });
    expect(await fact(page, 'Drain', 'calls finished')).toBe('2');
    expect(problems).toEqual([]);
  });

  it.concurrent(
    'says what it is when there is nothing to show: no clients, no calls, no permission, silence',
    { tags: ['timed'] },
    async (test) => {
      let open$ = true;
      @Injectable()
      class Door implements CanActivate {
        canActivate = () => open$;
      }
      const { url, clients } = await start(test, { dashboard: { guards: [Door] } });
      const proxy = await FaultProxy.start(new URL(url).host);
      test.onTestFinished(() => proxy.close());
      const { page } = await open(test, `http://${proxy.url}/grpc`, { ignored: /403/ });
      await page.getByText('No clients yet.').waitFor();
      clients.create({ name: 'late', protoPath: ORDERS_PROTO, url: NOBODY });
      await changed(test, 'the first client shown', page.getByRole('heading', { name: 'Idle late' }), {
        atMost: 1_500,
      });
      for (const text of ['No call yet.', 'No outage so far.', 'No stream is open.', 'No call has failed.'])
        await page.getByText(text).first().waitFor();

      proxy.holdBytes('both');
      await changed(test, 'silence reported', page.getByText('Silent', { exact: true }), { atMost: 5_000 });
      open$ = false;
      proxy.releaseBytes('both');
      proxy.resetAll();
      await changed(test, 'the refusal shown', page.getByText('Forbidden', { exact: true }), { atMost: 5_000 });
      await page.getByText(/may not see this page .* 403/).waitFor();
    },
  );

  it.for(['light', 'dark'] as const)('can be read in the %s', async (colorScheme, test) => {
    const { url } = await start(test, { clients: clientsOf('orders', 'audit') });
    const watched = await open(test, `${url}/grpc`, {
      colorScheme,
      reducedMotion: 'reduce',
      viewport: { width: 360, height: 700 },
    });
    const { page } = watched;
    await page.getByRole('link', { name: 'orders' }).waitFor();
    const [ground, ...inks] = await page.evaluate<string[]>(
      `['--card', '--ink', '--dim', '--ok', '--bad', '--wait', '--ours']
        .map((name) => getComputedStyle(document.documentElement).getPropertyValue(name))`,
    );
    expect(luminance(ground!) > 0.5).toBe(colorScheme === 'light');
    // WCAG AA.
    for (const ink of inks) expect(contrast(ink, ground!), `${ink} on ${ground!}`).toBeGreaterThanOrEqual(4.5);
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.view')).transitionDuration`)).toBe('0s');
    // Nothing sticks out on a telephone, neither of the page nor of a part of it.
    for (const link of ['orders', undefined]) {
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360);
      if (link) await page.getByRole('link', { name: link }).click();
      if (link) await page.getByRole('heading', { name: link }).waitFor();
    }
    expect(watched.problems).toEqual([]);
  });
});

/** Value of a named fact in a part of the page. */
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

/** Text of what has the focus; nothing where the page itself has it. */
async function focused(page: Page): Promise<string> {
  return page.evaluate<string>(
    `document.activeElement === document.body ? '' : document.activeElement.textContent || document.activeElement.tagName`,
  );
}

function luminance(colour: string): number {
  const hex = colour.trim().replace(/^#(.)(.)(.)$/, '#$1$1$2$2$3$3');
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
