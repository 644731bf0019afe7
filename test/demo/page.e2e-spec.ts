import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CHROMIUM, openPage, startBrowser } from '../support/browser.js';

const MAIN = join(import.meta.dirname, '../..', 'dist', 'main.js');

// The program itself, as `npm start` runs it: `npm test` builds it first.
describe('the demo page', () => {
  let gateway: ChildProcess;
  let url: string;

  beforeEach(async () => {
    gateway = spawn(process.execPath, [MAIN], {
      env: { ...process.env, PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    url = await new Promise((resolve, reject) => {
      let output = '';
      gateway.stdout!.on('data', (chunk) => {
        output += String(chunk);
        const address = /The demo: (\S+)/.exec(output)?.[1];
        if (address) resolve(address);
      });
      gateway.once('exit', () => reject(new Error(`the gateway ended before it listened: ${output}`)));
    });
  });
  afterEach(async () => {
    if (gateway.exitCode !== null || gateway.signalCode !== null) return;
    // In order: it removes the log of its upstream.
    gateway.kill('SIGTERM');
    await once(gateway, 'exit');
  });

  const json = async (path: string) => (await fetch(url + path)).json() as Promise<any>;

  it('is served with all it needs', async () => {
    const page = await (await fetch(url)).text();
    const parts = [...page.matchAll(/(?:href|src)="(\/[^"]+\.(?:css|js))"/g)].map((match) => match[1]!);
    expect(parts.length).toBeGreaterThanOrEqual(3);
    for (const part of [...parts, '/grpc/rate-chart.js']) expect((await fetch(url + part)).status).toBe(200);
  });

  it('answers over HTTP through our client, and says how it is', async () => {
    expect(await json('/orders/order-7')).toMatchObject({ id: 'order-7', sequence: '7' });
    expect((await fetch(`${url}/orders/no-such`)).status).toBe(404);
    expect(await json('/health/live')).toMatchObject({ status: 'ok' });
    expect(await json('/health/ready')).toMatchObject({ status: 'ok', details: { process: { status: 'up' } } });
    expect(await json('/health/dependencies')).toMatchObject({ details: { orders: { status: 'up', state: 'READY' } } });
    const metrics = await (await fetch(`${url}/metrics`)).text();
    expect(metrics).toMatch(/^grpc_client_call_duration_count\{grpc_method="orders\.v1\.Orders\/Get",.*\} [1-9]/m);
    expect(metrics).toMatch(/^resilient_grpc_client_waiting_calls\{resilient_grpc_client="orders",.*\} 0$/m);
  });

  it('opens with load on all contenders and a countdown when somebody comes, and ends in time though they stay', async () => {
    const answer = await fetch(`${url}/live`);
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    let state: any;
    while (!(state?.standings.every((standing: any) => standing.succeeded > 0) ?? false)) {
      const { value, done } = await reader.read();
      expect(done).toBe(false);
      text += value ?? '';
      const events = [...text.matchAll(/^data: (.*)\n/gm)];
      if (events.length > 0) state = JSON.parse(events.at(-1)![1]!);
    }
    expect(state).toMatchObject({
      upstream: 'listening',
      server: 'resilient',
      phase: 'opening',
      log: expect.any(Array),
    });
    expect(state.phaseEndsInMs).toBeLessThan(5_000);
    expect(state.standings.map((standing: any) => standing.name)).toEqual(['plain', 'tuned', 'resilient']);

    const askedAt = performance.now();
    gateway.kill('SIGTERM');
    await once(gateway, 'exit');
    expect(performance.now() - askedAt).toBeLessThan(5_000);
    // By its end, or with its connection, which is not left open either.
    while (!(await reader.read().catch(() => ({ done: true }))).done);
  });

  it('lets a visitor kill the server and start it again', async () => {
    const state = async () => (await json('/health/dependencies')).details.orders.state as string;
    expect(await state()).toBe('READY');
    expect((await fetch(`${url}/faults/kill`, { method: 'POST' })).status).toBe(204);
    // A call waits for as long as its deadline of 2 s lets it; on a slow machine a process takes longer to start.
    const answered = waitFor(async () => (await json('/orders/order-1')).id === 'order-1', { timeoutMs: 20_000 });
    expect((await fetch(`${url}/faults/start`, { method: 'POST' })).status).toBe(204);
    await answered;
    expect((await fetch(`${url}/faults/earthquake`, { method: 'POST' })).status).toBe(404);
  });

  // What is drawn is drawn by a browser, where there is one.
  it.skipIf(CHROMIUM === undefined)(
    'shows our client, and no other, below the contest, a kill in both, and then does what a visitor likes',
    async () => {
      const browser = await startBrowser();
      try {
        const { page, problems } = await openPage(browser, url);
        const dashboard = page.locator('#dashboard');
        await dashboard.getByRole('heading', { name: 'Well orders' }).waitFor();
        expect(await page.locator('#columns canvas').count()).toBe(3);
        expect(await dashboard.locator('canvas').count()).toBe(3);
        expect((await json('/grpc/snapshot')).clients.map(({ name }: any) => name)).toEqual(['orders']);
        await page.locator('#server[data-state=away]').waitFor({ timeout: 10_000 });
        await dashboard.getByRole('heading', { name: 'Outage orders' }).waitFor({ timeout: 1_000 });
        await dashboard.getByText(/calls wait, and fail in/).waitFor({ timeout: 1_500 });

        // Then it is the visitor's: a kill that ends by itself, and one that does not. A process takes its time to start.
        const press = (name: string) => page.getByRole('button', { name, exact: true }).click({ timeout: 10_000 });
        const countdown = page.locator('#countdown');
        await press('Kill');
        await countdown.getByText('killed; back in').waitFor({ timeout: 1_500 });
        await page.locator('#server[data-state=listening]').waitFor({ timeout: 20_000 });
        await press('Keep down');
        await page.locator('#server[data-state=away]').waitFor({ timeout: 1_500 });
        await countdown.waitFor({ state: 'hidden' });
        await press('Start');
        await page.locator('#server[data-state=listening]').waitFor({ timeout: 20_000 });
        // What failed is what failed, whatever may have become of it.
        const figures = page.locator('.column[data-name=plain] [data-figure=failed]');
        expect(Number((await figures.textContent())!.replace(',', ''))).toBeGreaterThan(0);
        // Load goes on where the page stays open.
        expect(await page.getByRole('link', { name: 'the dashboard alone' }).getAttribute('target')).toBe('_blank');
        expect(problems).toEqual([]);
      } finally {
        await browser.close();
      }
    },
  );

  it("lets a visitor have it served by Nest's own server", async () => {
    expect((await fetch(`${url}/server/nest`, { method: 'POST' })).status).toBe(204);
    const reader = (await fetch(`${url}/live`)).body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    while (!text.includes('\n\n')) text += (await reader.read()).value ?? '';
    await reader.cancel();
    expect(text).toMatch(/"upstream":"listening","server":"nest"/);
    expect(await json('/orders/order-1')).toMatchObject({ id: 'order-1' });
    expect((await fetch(`${url}/server/apache`, { method: 'POST' })).status).toBe(404);
  });
});
