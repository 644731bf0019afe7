import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import type { Page } from 'playwright-core';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openPage, sharedBrowser, type WatchedPage } from '../support/browser.js';
import { isInstalled } from '../support/programs.js';
import { startDashboardApp, type DashboardApp, type DashboardAppOptions } from './dashboard-app.js';

const UNREACHABLE = '127.0.0.1:1';
/** Generous limit for a condition of the page. */
const IN_TIME = { timeoutMs: 60_000 };

describe.skipIf(!isInstalled('Chromium'))('page of several processes', { timeout: 180_000 }, () => {
  const browser = sharedBrowser();

  const startProcess = async (waiting: number): Promise<ChildServer> => {
    const server = await ChildServer.start({
      script: new URL('./dashboard-process.mjs', import.meta.url),
      args: (port) => ['--port', String(port), '--target', UNREACHABLE, '--waiting', String(waiting)],
      readyTimeoutMs: 60_000,
    });
    onTestFinished(() => server.close());
    return server;
  };
  const start = async (urls: () => readonly string[], options: DashboardAppOptions = {}): Promise<DashboardApp> => {
    const processes = { urls, headers: () => ({ 'x-key': 'sesame' }) };
    const app = await startDashboardApp({
      clients: [{ name: 'orders', url: UNREACHABLE, outageGraceMs: 600_000 }],
      dashboard: { public: true, processes },
      ...options,
    });
    onTestFinished(app.close);
    const call = app
      .orders('orders')
      .get({ id: '1' })
      .subscribe({ error: () => undefined });
    onTestFinished(() => call.unsubscribe());
    return app;
  };
  const open = async (url: string): Promise<WatchedPage> => {
    const watched = await openPage(browser(), url, { viewport: { width: 1_440, height: 900 } });
    onTestFinished(watched.close);
    return watched;
  };
  const fact = (page: Page, name: string) =>
    page
      .locator('.facts > div')
      .filter({ has: page.locator(`dt:text-is("${name}")`) })
      .locator('dd');
  const shows = (page: Page, name: string, value: string) =>
    waitFor(async () => (await fact(page, name).textContent()) === value, { ...IN_TIME, describe: `${name} ${value}` });

  it('sums the figures of three processes, links to each of them, and excludes a killed process until it restarts', async () => {
    const processes = await Promise.all([startProcess(2), startProcess(3)]);
    let own = '';
    // This process is counted once, although the list also contains its URL.
    const { url } = await start(() => [...processes.map((one) => `http://${one.url}/grpc`), `${own}/grpc`]);
    own = url;
    const { page, problems } = await open(`${url}/grpc`);
    await page.getByText('3 of 3 processes', { exact: true }).waitFor();
    await shows(page, 'waiting', '6');
    const rows = page.getByRole('table', { name: 'Processes' }).locator('tbody tr');
    await waitFor(async () => (await rows.count()) === 3, IN_TIME);

    // Opens the page of a client for all processes, and then the page of this client for one process, using only the keyboard.
    await page.getByRole('link', { name: 'orders' }).focus();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Outage orders' }).waitFor();
    await page.getByText('In 3 of 3 processes').waitFor();
    await shows(page, 'waiting', '6');
    const parts = page.getByRole('table', { name: 'By process' });
    await parts.getByRole('row', { name: new RegExp(`process ${String(processes[1].pid)} Outage .* 3 3$`) }).waitFor();
    await parts.getByRole('link', { name: `process ${String(processes[1].pid)}` }).focus();
    await page.keyboard.press('Enter');
    await page.getByText(`process ${String(processes[1].pid)}`).waitFor();
    await page.getByText('3 waiting calls fail in').waitFor();
    await page.getByRole('link', { name: '← all processes' }).click();

    await page.getByText('3 of 3 processes', { exact: true }).waitFor();
    await processes[1].kill();
    await page.getByText('1 of 3 processes sends no data.').waitFor();
    await page.getByRole('row', { name: /No response for \d+ s: .*ECONNREFUSED/ }).waitFor();
    await shows(page, 'waiting', '3');
    await processes[1].restart();
    await page.getByRole('row', { name: new RegExp(`process ${String(processes[1].pid)} .* Live`) }).waitFor();
    await shows(page, 'waiting', '6');
    expect(problems).toEqual([]);
  });

  it('updates the dashboard page when the list of processes changes', async () => {
    const [before, after] = await Promise.all([startProcess(2), startProcess(3)]);
    let urls = [`http://${before.url}/grpc`];
    const { url } = await start(() => urls);
    const { page, problems } = await open(`${url}/grpc`);
    await shows(page, 'waiting', '3');
    await page.getByRole('link', { name: `process ${String(before.pid)}` }).click();
    await page.getByText('2 waiting calls fail in').waitFor();
    await page.goBack();
    urls = [`http://${after.url}/grpc`];
    await page.getByText(`process ${String(before.pid)}`).waitFor({ state: 'detached' });
    await shows(page, 'waiting', '4');
    await page.goForward();
    // After a reload, the page of a process that is no longer listed has no data.
    await page.reload();
    await page.getByText('This process is not listed').waitFor();
    expect(problems).toEqual([]);
  });

  it('shows a process of another release without its data, and reports the release', async () => {
    const data = { at: Date.now(), accepting: true, total: 1, process: { host: 'old', pid: 9, release: '0.0.1' } };
    const server = createServer((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(`event: whole\ndata: ${JSON.stringify(data)}\n\n`);
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const { url } = await start(() => [`http://127.0.0.1:${String((server.address() as AddressInfo).port)}/grpc`]);
    const { page, problems } = await open(`${url}/grpc`);
    await page.getByRole('row', { name: /old, process 9 .*Other release .*0\.0\.1/ }).waitFor();
    await shows(page, 'waiting', '1');
    await page.getByRole('link', { name: 'old, process 9' }).click();
    await page.getByText('This page cannot read the data of the process').waitFor();
    expect(problems).toEqual([]);
  });
});
