import { once } from 'node:events';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openPage, startBrowser, type Sightings } from '../support/browser.js';
import { isInstalled } from '../support/programs.js';
import { recordTiming } from '../support/timing.js';
import { DemoGateway } from './gateway.js';

/** Messages that the page shows while the server is down. The page records when each appears, because some last only 3 s. */
const SIGHTINGS: Sightings = {
  down: { selector: '#server-word', text: 'Down' },
  outage: { selector: '#dashboard .details h2', text: 'Outage orders' },
  waiting: { selector: '#dashboard .details', text: 'waiting calls fail in' },
  countdown: { selector: '#countdown:not([hidden])', text: 'killed; back in' },
};

// Runs the program that `npm start` runs; `npm run pack:check` builds it first.
describe('demo page', { timeout: 120_000 }, () => {
  let gateway: DemoGateway;
  let url: string;

  beforeEach(async () => {
    gateway = await DemoGateway.start();
    ({ url } = gateway);
  });
  afterEach(() => gateway.stop());

  const json = (path: string) => gateway.json(path);

  it('serves the demo page and its assets', async () => {
    const page = await (await fetch(url)).text();
    const parts = [...page.matchAll(/(?:href|src)="(\/[^"]+\.(?:css|js))"/g)].map((match) => match[1]!);
    expect(parts.length).toBeGreaterThanOrEqual(3);
    for (const part of [...parts, '/grpc/rate-chart.js']) expect((await fetch(url + part)).status).toBe(200);
  });

  it('serves orders through our client, and serves the health and the metrics of the client', async () => {
    expect(await json('/orders/order-7')).toMatchObject({ id: 'order-7', sequence: '7' });
    expect((await fetch(`${url}/orders/no-such`)).status).toBe(404);
    expect(await json('/health/live')).toMatchObject({ status: 'ok' });
    expect(await json('/health/ready')).toMatchObject({ status: 'ok', details: { process: { status: 'up' } } });
    expect(await json('/health/dependencies')).toMatchObject({ details: { orders: { status: 'up', state: 'READY' } } });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/^grpc_client_call_duration_count\{grpc_method="orders\.v1\.Orders\/Get",.*\} [1-9]/m);
    expect(metrics).toMatch(/^resilient_grpc_client_waiting_calls\{resilient_grpc_client="orders",.*\} 0$/m);
  });

  it(
    'starts the calls of all clients and the countdown to the server kill when a visitor opens the demo page, and shuts down even if the page stays open',
    { tags: ['timed'] },
    async ({ task }) => {
      const answer = await fetch(`${url}/live`);
      const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
      let text = '';
      let states: readonly any[] = [];
      while (!(states.at(-1)?.results.every((result: any) => result.succeeded > 0) ?? false)) {
        const { value, done } = await reader.read();
        expect(done).toBe(false);
        text += value ?? '';
        states = [...text.matchAll(/^data: (.*)\n/gm)].map(([, data]) => JSON.parse(data!));
      }
      const [opening] = states;
      expect(opening).toMatchObject({
        upstream: 'listening',
        phase: 'opening',
        log: expect.any(Array),
      });
      expect(opening.phaseEndsInMs).toBeLessThan(5_000);
      expect(opening.results.map((result: any) => result.name)).toEqual(['plain', 'tuned', 'resilient']);

      const signaledAt = performance.now();
      gateway.process.kill('SIGTERM');
      await once(gateway.process, 'exit');
      recordTiming(task, 'time from SIGTERM until the process exits, ms', performance.now() - signaledAt, {
        atMost: 5_000,
      });
      // The stream must not stay open: it ends, or its connection closes.
      while (!(await reader.read().catch(() => ({ done: true }))).done);
    },
  );

  it('kills and restarts the server of the demo on request', async () => {
    const state = async () => (await json('/health/dependencies')).details.orders.state as string;
    const outages = async () => (await json('/grpc/snapshot')).clients[0].outages.total as number;
    expect(await state()).toBe('READY');
    const before = await outages();
    expect(await gateway.post('/faults/kill')).toBe(204);
    // Repeats the call, because its deadline of 2 s can pass before the server has started on a slow machine.
    const answered = waitFor(async () => (await json('/orders/order-1')).id === 'order-1', { timeoutMs: 60_000 });
    expect(await gateway.post('/faults/start')).toBe(204);
    await answered;
    await waitFor(async () => (await outages()) > before, { timeoutMs: 60_000 });
    expect(await gateway.post('/faults/earthquake')).toBe(404);
  });

  it('starts over with another server and other clients on the same port, and logs nothing that a visitor would have to mend', async () => {
    const first = (await json('/grpc/snapshot')).clients[0];
    expect(await gateway.post('/start-over')).toBe(204);
    const next = async () => (await json('/grpc/snapshot').catch(() => undefined))?.clients[0];
    await waitFor(async () => ![undefined, first.target].includes((await next())?.target), { timeoutMs: 60_000 });
    expect((await next()).createdAt > first.createdAt).toBe(true);
    expect(await json('/orders/order-7')).toMatchObject({ id: 'order-7' });
    expect(gateway.printed()).not.toContain('no OpenTelemetry SDK');
  });

  it.skipIf(!isInstalled('Chromium'))(
    'shows only our client on the dashboard, shows a kill on the demo page and on the dashboard, and responds to the buttons Kill, Keep down, and Start',
    { tags: ['timed'] },
    async ({ task }) => {
      const browser = await startBrowser();
      try {
        const { page, problems, sighted, forget } = await openPage(browser, url, { sightings: SIGHTINGS });
        const dashboard = page.locator('#dashboard');
        await dashboard.getByRole('heading', { name: 'Healthy orders' }).waitFor();
        expect(await page.locator('#columns canvas').count()).toBe(3);
        expect(await dashboard.locator('canvas').count()).toBe(3);
        expect((await json('/grpc/snapshot')).clients.map(({ name }: any) => name)).toEqual(['orders']);
        // Checks the first kill, because a third outage in a minute shares the grace period of the first two, and its calls might not wait.
        const [down, outage, waiting] = [await sighted('down'), await sighted('outage'), await sighted('waiting')];
        recordTiming(task, 'time from the kill until the page shows an outage, ms', outage - down, { atMost: 1_000 });
        recordTiming(task, 'time from the outage until the page shows waiting calls, ms', waiting - outage, {
          atMost: 1_500,
        });

        // Then the visitor kills the server, first with an automatic restart and then without. Waits until the server listens, because a
        // process starts slowly.
        const button = (name: string) => page.getByRole('button', { name, exact: true });
        const server = (state: string) => page.locator(`#server[data-state=${state}]`).waitFor();
        await server('listening');
        await waitFor(() => button('Kill').isEnabled(), { timeoutMs: 60_000 });
        await forget();
        const pageNow = () => page.evaluate<number>('performance.now()');
        const killedAt = await pageNow();
        await button('Kill').click();
        const countdownAfterMs = (await sighted('countdown')) - killedAt;
        recordTiming(task, 'time from the click until the page shows the countdown, ms', countdownAfterMs, {
          atMost: 1_500,
        });
        await server('listening');
        await forget();
        const keptDownAt = performance.now();
        await button('Keep down').click();
        await server('down');
        const downAfterMs = performance.now() - keptDownAt;
        recordTiming(task, 'time from the click until the page shows the server as down, ms', downAfterMs, {
          atMost: 1_500,
        });
        await page.locator('#countdown').waitFor({ state: 'hidden' });
        await button('Start').click();
        await server('listening');
        // The page still shows the failed calls after the restart.
        const figures = page.locator('.column[data-name=plain] [data-figure=failed]');
        expect(Number((await figures.textContent())!.replace(',', ''))).toBeGreaterThan(0);
        // The load stops 5 s after the page is closed, so the link opens a new tab.
        expect(await page.getByRole('link', { name: 'Dashboard only' }).getAttribute('target')).toBe('_blank');
        expect(problems).toEqual([]);

        // On a phone, the results of all clients are side by side, and visible without scrolling.
        await page.setViewportSize({ width: 390, height: 844 });
        const results = page.locator('.column .result');
        const boxes = await Promise.all([0, 1, 2].map(async (nth) => (await results.nth(nth).boundingBox())!));
        expect(new Set(boxes.map(({ y, height }) => `${y} ${height}`)).size).toBe(1);
        expect(boxes[2]!.y + boxes[2]!.height).toBeLessThan(844);
        expect(boxes[2]!.x + boxes[2]!.width).toBeLessThanOrEqual(390);
      } finally {
        await browser.close();
      }
    },
  );
});
