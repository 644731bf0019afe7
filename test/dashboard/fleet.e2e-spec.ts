import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { ChildServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Events, startDashboardApp, type DashboardApp, type DashboardAppOptions } from './dashboard-app.js';

const UNREACHABLE = '127.0.0.1:1';
/** Generous limit for a condition. */
const IN_TIME = { timeoutMs: 60_000 };
const KEY = { 'x-key': 'sesame' };

/** Starts an application in a separate process. Its client makes `waiting` calls, which wait for a connection. */
async function startProcess(waiting: number): Promise<ChildServer> {
  const server = await ChildServer.start({
    script: new URL('./dashboard-process.mjs', import.meta.url),
    args: (port) => ['--port', String(port), '--target', UNREACHABLE, '--waiting', String(waiting)],
    readyTimeoutMs: 60_000,
  });
  onTestFinished(() => server.close());
  return server;
}

async function start(options: DashboardAppOptions): Promise<DashboardApp> {
  const app = await startDashboardApp({ clients: [{ name: 'orders', url: UNREACHABLE }], ...options });
  onTestFinished(app.close);
  return app;
}

async function open(url: string, headers: Record<string, string> = {}): Promise<Events> {
  const events = await Events.open(url, headers);
  onTestFinished(() => events.close());
  return events;
}

/** Starts an HTTP server that records the requests that it receives. */
async function startRecorder(respond: Parameters<typeof createServer>[1]): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = [];
  const server: Server = createServer((request, response) => {
    seen.push(`${String(request.method)} ${String(request.url)}`);
    respond?.(request, response);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`, seen };
}

const links = (events: Events) =>
  events.received.filter(({ event }) => event === 'link').map(({ data }) => data as { key: string; state: string });

const wholes = (events: Events, key: string) =>
  events.received.filter(({ event, data }) => event === 'process' && data.key === key && data.event === 'whole');

describe('dashboard of several processes', { timeout: 120_000 }, () => {
  let leaks: ReturnType<typeof captureLeaks>;
  beforeAll(() => {
    leaks = captureLeaks();
  });
  afterAll(() => leaks.settled({ timeoutMs: 30_000 }), 60_000);

  it('relays the dashboard events of each process, including a process that was killed and restarted', async () => {
    const processes = await Promise.all([startProcess(2), startProcess(3)]);
    const urls = processes.map(({ url }) => `http://${url}/grpc`);
    // The guards of the processes receive the key from the cookie of the visitor.
    const headers = ({ cookie }: IncomingHttpHeaders) => ({ 'x-key': String(cookie?.split('=')[1]) });
    const { url } = await start({ dashboard: { public: true, processes: { urls, headers } } });
    const events = await open(`${url}/grpc/fleet?client=orders`, { cookie: 'key=sesame' });
    await waitFor(() => ['self', ...urls].every((key) => wholes(events, key).length > 0), IN_TIME);
    expect(events.last('processes')).toEqual({ keys: ['self', ...urls], omitted: 0 });
    const [first] = wholes(events, urls[0]!);
    expect(first!.more.process.pid).toBe(processes[0].pid);
    expect(first!.more.clients).toMatchObject([{ key: 'orders', methods: [{ path: '/orders.v1.Orders/Get' }] }]);

    await processes[1].kill();
    const isLost = () => links(events).some(({ key, state }) => key === urls[1] && state === 'unreachable');
    await waitFor(isLost, IN_TIME);
    await processes[1].restart();
    await waitFor(() => wholes(events, urls[1]!).length > 1, IN_TIME);
    expect(wholes(events, urls[1]!).at(-1)!.more.process.pid).toBe(processes[1].pid);
    // The connection to the other process was not interrupted.
    expect(wholes(events, urls[0]!)).toHaveLength(1);
  });

  it('reports a dashboard process that refuses access, responds with other data, redirects, or is silent', async () => {
    const guarded = await startProcess(0);
    const other = await startRecorder((_request, response) => response.end('<html>'));
    const moved = await startRecorder((_request, response) => {
      response.writeHead(302, { location: `${other.url}/secret` });
      response.end();
    });
    const silent = await startRecorder(() => undefined);
    const urls = [`http://${guarded.url}/grpc`, `${other.url}/grpc`, `${moved.url}/grpc`, `${silent.url}/grpc`];
    const { url } = await start({ dashboard: { public: true, processes: { urls } } });
    const events = await open(`${url}/grpc/fleet`);
    const stateOf = (key: string) => links(events).findLast((link) => link.key === key && link.state !== 'connecting');
    await waitFor(() => urls.every((key) => stateOf(key) !== undefined), IN_TIME);
    expect(urls.map(stateOf)).toEqual([
      { key: urls[0], state: 'forbidden', text: '403' },
      { key: urls[1], state: 'refused', text: '200 OK' },
      { key: urls[2], state: 'refused', text: '302 Found' },
      { key: urls[3], state: 'silent' },
    ]);
    expect(other.seen).not.toContain('GET /secret');
  });

  it('sends no request to a process whose URL is not listed', async () => {
    const recorder = await startRecorder((_request, response) => response.end());
    const { url } = await start({ dashboard: { public: true, processes: { urls: [] } } });
    const events = await open(`${url}/grpc/events?process=${encodeURIComponent(`${recorder.url}/grpc`)}`);
    await waitFor(() => links(events).length > 0, IN_TIME);
    expect(links(events)).toEqual([{ state: 'unlisted' }]);
    expect(recorder.seen).toEqual([]);
  });

  it('relays the dashboard events of one process, and of all processes in a changing list', async () => {
    const processes = await Promise.all([startProcess(1), startProcess(1)]);
    let urls: readonly string[] = [`http://${processes[0].url}/grpc`];
    const list = () => urls;
    const { url } = await start({ dashboard: { public: true, processes: { urls: list, headers: () => KEY } } });
    const one = await open(`${url}/grpc/events?process=${encodeURIComponent(urls[0]!)}&client=orders`);
    const whole = await waitFor(() => one.last('whole'), IN_TIME);
    expect(whole).toMatchObject({ process: { pid: processes[0].pid }, clients: [{ key: 'orders', methods: [{}] }] });
    const all = await open(`${url}/grpc/fleet`);
    await waitFor(() => wholes(all, urls[0]!).length > 0, IN_TIME);
    const before = urls;
    urls = [`http://${processes[1].url}/grpc`];
    await waitFor(() => all.last('processes').keys.includes(urls[0]), IN_TIME);
    expect(all.last('processes').keys).toEqual(['self', urls[0]]);
    await waitFor(() => wholes(all, urls[0]!).length > 0, IN_TIME);
    // The page of a process that is no longer listed stays open; it shows the process again once the process is listed again.
    await waitFor(() => links(one).at(-1)?.state === 'unlisted', IN_TIME);
    const wholesOfOne = () => one.received.filter(({ event }) => event === 'whole').length;
    const wholesBefore = wholesOfOne();
    urls = [...before, ...urls];
    await waitFor(() => wholesOfOne() > wholesBefore, IN_TIME);
    await waitFor(() => all.last('processes').keys.length === 3, IN_TIME);
    // If the processes cannot be listed, the dashboard keeps the previous list.
    urls = undefined as never;
    await waitFor(() => all.last('processes').problem !== undefined, IN_TIME);
    expect(all.last('processes').keys).toHaveLength(3);
  });

  it('sends requests to other processes only while a dashboard page is open, and ends the requests when the page or the application closes', async () => {
    const process = await startRecorder((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('event: whole\ndata: {}\n\n');
      response.once('close', () => (closed += 1));
    });
    let closed = 0;
    let lists = 0;
    const urls = () => [`${process.url}/grpc`].slice((lists += 1) - lists);
    const app = await start({ dashboard: { public: true, processes: { urls } } });
    expect(lists).toBe(0);
    const page = await open(`${app.url}/grpc/fleet`);
    await waitFor(() => process.seen.length === 1, IN_TIME);
    page.close();
    await waitFor(() => closed === 1, IN_TIME);
    const another = await open(`${app.url}/grpc/fleet`);
    const one = await open(`${app.url}/grpc/events?process=${encodeURIComponent(`${process.url}/grpc`)}`);
    const unlisted = await open(`${app.url}/grpc/events?process=unlisted`);
    await waitFor(() => process.seen.length === 3 && links(unlisted).length === 1, IN_TIME);
    await app.app.close();
    await waitFor(() => closed === 3 && another.ended && one.ended && unlisted.ended, IN_TIME);
  });

  it('serves the routes and the page for several processes only if the option `processes` is set', async () => {
    const { url } = await start({});
    expect((await fetch(`${url}/grpc/fleet`)).status).toBe(404);
    expect((await fetch(`${url}/grpc/events?process=self`)).status).toBe(404);
    expect(await (await fetch(`${url}/grpc`)).text()).toContain('<main></main>');
  });
});
