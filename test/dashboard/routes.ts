import { request as httpRequest, type Server } from 'node:http';
import { promisify } from 'node:util';
import { Injectable, type CanActivate, type ExecutionContext, type NestInterceptor } from '@nestjs/common';
import { Subject, firstValueFrom, tap, timeout } from 'rxjs';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { recordTiming } from '../support/timing.js';
import {
  Events,
  KeyGuard,
  KeysModule,
  ORDERS_PROTO,
  startDashboardApp,
  type DashboardApp,
  type DashboardAppOptions,
} from './dashboard-app.js';

const KEY = { 'x-key': 'sesame' };

/** Defines the dashboard tests for one HTTP platform of Nest. The default is Express. */
export function itServesTheDashboard(adapter?: () => AbstractHttpAdapter): void {
  const leaks = captureLeaks();
  let server: ScriptedGrpcServer;
  let dashboard: DashboardApp | undefined;
  beforeAll(async () => {
    server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: { message: { id: '1' } } } });
  });
  afterEach(async () => {
    await dashboard?.close();
    dashboard = undefined;
    await server.restart();
  });
  afterAll(async () => {
    await server.close();
    await leaks.settled();
  });
  const start = async (options: DashboardAppOptions = {}) => {
    dashboard = await startDashboardApp({
      clients: [
        { name: 'orders', url: server.url },
        { name: 'audit', url: server.url },
      ],
      ...(adapter && { adapter }),
      ...options,
    });
    return dashboard;
  };

  it('serves the dashboard page and its assets under a strict content security policy', async () => {
    const { url } = await start();
    const page = await fetch(`${url}/grpc`);
    expect(page.status).toBe(200);
    const files = await filesOf(`${url}/grpc`);
    expect(files.map(({ name }) => name)).toEqual(expect.arrayContaining(['uplot.js', 'page.js', 'details.js']));
    for (const { response } of [{ response: page }, ...files]) {
      expect(response.status, response.url).toBe(200);
      const policy = response.headers.get('content-security-policy')!;
      expect(policy).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self';/);
      expect(policy).toContain("frame-ancestors 'none'");
      expect(policy).not.toContain('unsafe');
      expect(response.headers.get('x-content-type-options')).toBe('nosniff');
      expect(response.headers.get('referrer-policy')).toBe('no-referrer');
      expect(response.headers.get('cache-control')).toBe('no-cache');
    }
    const tag = files[0]!.response.headers.get('etag')!;
    const again = await fetch(files[0]!.response.url, { headers: { 'if-none-match': tag } });
    expect([again.status, await again.text()]).toEqual([304, '']);
    expect((await fetch(`${url}/grpc/package.json`)).status).toBe(404);
    expect((await fetch(`${url}/grpc/..%2f..%2fpackage.json`)).status).toBe(404);
  });

  it('serves the dashboard page with a trailing slash, a global prefix, and versioning, and uses relative links only', async () => {
    const { url } = await start({ prefix: 'api', versioned: true, dashboard: { path: '/ops/grpc', public: true } });
    for (const at of [`${url}/api/ops/grpc`, `${url}/api/ops/grpc/`, `${url}/api/ops/grpc?from=mail`]) {
      const text = await (await fetch(at)).text();
      expect(text, at).toMatch(/<title>gRPC clients/);
      // A proxy may add a prefix to the path, so no link may be absolute.
      expect(linksOf(text).filter((link) => !link.startsWith('./'))).toEqual([]);
      for (const { response } of await filesOf(at)) expect(response.status, response.url).toBe(200);
    }
    expect((await fetch(`${url}/ops/grpc`)).status).toBe(404);
  });

  it('serves the dashboard snapshot as plain JSON, even if the application wraps its responses', async () => {
    const { url, orders, clients } = await start({ wrapped: true });
    await firstValueFrom(orders('orders').get({ id: '1' }));
    const answer = await fetch(`${url}/grpc/snapshot`);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const snapshot = (await answer.json()) as any;
    expect(snapshot).toMatchObject({ version: 1, at: expect.any(String), accepting: true });
    expect(snapshot.clients.map(({ name }: { name: string }) => name)).toEqual(['orders', 'audit']);
    const now = JSON.parse(JSON.stringify(clients.get('orders').snapshot()));
    expect(steady(snapshot.clients[0])).toEqual(steady(now));
    expect(Object.keys(snapshot.clients[0]).sort()).toEqual(Object.keys(now).sort());
    expect(snapshot.clients[0].counters).toMatchObject({ started: 1, succeeded: 1, failed: 0, attempts: 1 });
  });

  it('rejects POST, PUT, PATCH, and DELETE on every dashboard path', async () => {
    const { url } = await start();
    for (const path of ['', '/snapshot', '/events', '/page.js'])
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE'])
        expect((await fetch(`${url}/grpc${path}`, { method })).status, `${method} ${path}`).toBe(404);
  });

  it('protects every dashboard route with the configured guards, which can inject providers of the imported modules', async () => {
    const { url } = await start({ dashboard: { guards: [KeyGuard], imports: [KeysModule] } });
    const paths = ['', '/', '/snapshot', '/events', '/page.js', '/uplot.js', '/no-such-file'];
    for (const path of paths) expect((await fetch(`${url}/grpc${path}`)).status, path).toBe(403);
    for (const path of ['', '/snapshot', '/page.js', '/uplot.js'])
      expect((await fetch(`${url}/grpc${path}`, { headers: KEY })).status, path).toBe(200);
    const events = await Events.open(`${url}/grpc/events`, KEY);
    await waitFor(() => events.last('whole'));
    events.close();
  });

  it('sends the whole state to a dashboard page, then only changes', { tags: ['timed'] }, async ({ task }) => {
    const { url, orders, clients } = await start();
    await firstValueFrom(orders('orders').get({ id: '1' }));
    const events = await Events.open(`${url}/grpc/events?client=orders`);
    const whole = await waitFor(() => events.last('whole'));
    expect(whole.clients.map(({ key }: { key: string }) => key)).toEqual(['orders', 'audit']);
    // The event contains details of the selected client and an overview of the other.
    expect(whole.clients[0]).toMatchObject({
      connectivity: { state: 'READY' },
      methods: [{ path: '/orders.v1.Orders/Get' }],
    });
    expect(whole.clients[1]).toMatchObject({ connectivity: { state: 'IDLE' }, counters: { started: 0 } });
    expect(whole.clients[1].methods).toBeUndefined();
    expect(whole.samples.map(([key, rows]: any) => [key, rows.length > 0])).toEqual([
      ['orders', true],
      ['audit', true],
    ]);

    const recordTimeUntil = async (figure: string, atMost: number, condition: () => boolean) => {
      const beganAt = performance.now();
      await waitFor(condition, { timeoutMs: 20_000 });
      recordTiming(task, figure, performance.now() - beganAt, { atMost });
    };
    await waitFor(() => events.received.length >= 3);
    // Unchanged clients are not sent.
    expect(events.last('change').clients.map(({ key }: any) => key)).not.toContain('audit');

    const stoppedAt = performance.now();
    await server.stop('kill-connections');
    const waiting = firstValueFrom(orders('orders').get({ id: '2' }));
    await waitFor(() => events.client('orders').connectivity.outage !== undefined);
    recordTiming(task, 'time until an event reports an outage, ms', performance.now() - stoppedAt, { atMost: 1_000 });
    await recordTimeUntil(
      'time until an event reports a waiting call, ms',
      1_000,
      () => events.client('orders').waiting === 1,
    );
    await server.restart();
    await waiting;
    await waitFor(() => events.client('orders').counters.succeeded === 2);

    // The events also cover clients that are created and closed at run time.
    clients.create({ name: 'tenant-7', protoPath: ORDERS_PROTO, url: server.url });
    await recordTimeUntil(
      'time until an event reports a created client, ms',
      1_500,
      () => events.client('tenant-7').name === 'tenant-7',
    );
    await clients.get('tenant-7').close();
    const isRemoved = () => events.received.some(({ data }) => data.gone?.includes('tenant-7'));
    await recordTimeUntil('time until an event reports a closed client, ms', 1_500, isRemoved);
    // The accumulated changes equal the whole state.
    const fresh = await Events.open(`${url}/grpc/events?client=orders`);
    const [expected] = (await waitFor(() => fresh.last('whole'))).clients;
    await waitFor(() => {
      expect(steady(events.client('orders'))).toEqual(steady(expected));
      return true;
    });
    fresh.close();
    events.close();
  });

  it('releases dashboard pages that disconnect while a guard is pending', async () => {
    const opened = new Subject<void>();
    let started = 0;
    let passed = 0;
    @Injectable()
    class SlowGuard implements CanActivate {
      async canActivate(): Promise<boolean> {
        started += 1;
        await firstValueFrom(opened, { defaultValue: undefined });
        passed += 1;
        return true;
      }
    }
    const { app, url } = await start({ dashboard: { guards: [SlowGuard] } });
    const requests = Array.from({ length: 100 }, () => httpRequest(`${url}/grpc/events`, { agent: false }));
    for (const request of requests) request.on('error', () => undefined).end();
    await waitFor(() => started === 100);
    for (const request of requests) request.destroy();
    // The cast is safe because both platforms use Node's HTTP server.
    const server = app.getHttpServer() as Server;
    const connections = promisify(server.getConnections.bind(server));
    await waitFor(async () => (await connections()) === 0);
    opened.complete();
    await waitFor(() => passed === 100);
    const events = await Events.open(`${url}/grpc/events`);
    expect(events.response.statusCode).toBe(200);
    await waitFor(() => events.last('whole'));
    events.close();
  });

  it('admits at most 100 dashboard pages at once, and another one when a page disconnects', async () => {
    const { url } = await start();
    const at = `${url}/grpc/events`;
    const visitors = await Promise.all(Array.from({ length: 100 }, () => Events.open(at)));
    await waitFor(() => visitors.every((visitor) => visitor.last('whole')));
    const refused = await fetch(at);
    expect([refused.status, await refused.json()]).toEqual([
      503,
      { message: 'too many dashboard pages are open; close one' },
    ]);
    visitors[0]!.close();
    const another = await waitFor(async () => {
      const events = await Events.open(at);
      if (events.response.statusCode === 200) return events;
      events.close();
      return undefined;
    });
    for (const visitor of [...visitors, another]) visitor.close();
  });

  it('sends headers that prevent compression and buffering of dashboard events, and answers HEAD without events', async () => {
    const { url } = await start();
    const head = await fetch(`${url}/grpc/events`, { method: 'HEAD' });
    expect([head.status, await head.text()]).toEqual([200, '']);
    const events = await Events.open(`${url}/grpc/events`, { connection: 'keep-alive' });
    for (const headers of [Object.fromEntries(head.headers), events.response.headers])
      expect(headers).toMatchObject({
        'content-type': 'text/event-stream; charset=utf-8',
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
        // Otherwise the shutdown would wait for the connection.
        connection: 'close',
      });
    events.close();
  });

  it('keeps sending dashboard events despite an interceptor that has a timeout and sets a response header late', async () => {
    const late: NestInterceptor = {
      intercept: (context: ExecutionContext, next) => {
        const response = context.switchToHttp().getResponse<{ header(name: string, value: string): unknown }>();
        return next.handle().pipe(
          timeout(500),
          tap(() => response.header('x-late', 'yes')),
        );
      },
    };
    const { url } = await start({ interceptors: [late] });
    for (const path of ['', '/snapshot', '/page.js']) expect((await fetch(`${url}/grpc${path}`)).status).toBe(200);
    const events = await Events.open(`${url}/grpc/events`);
    await waitFor(() => events.received.length >= 3);
    expect(events.ended).toBe(false);
    events.close();
  });

  it('rejects event streams of the dashboard but still serves its snapshots during the shutdown', async () => {
    let finish = (): void => undefined;
    const finished = new Promise<void>((resolve) => (finish = resolve));
    const { url, app } = await start({ beforeClosed: () => finished });
    const events = await Events.open(`${url}/grpc/events`);
    await waitFor(() => events.last('whole'));
    const closed = app.close();
    await waitFor(() => events.ended);
    const refused = await fetch(`${url}/grpc/events`);
    expect([refused.status, await refused.json()]).toEqual([503, { message: 'the application is shutting down' }]);
    const snapshot = await fetch(`${url}/grpc/snapshot`);
    expect(await snapshot.json()).toMatchObject({ accepting: false });
    // The connections are closed, because otherwise the shutdown would wait for them.
    for (const { headers } of [refused, snapshot]) expect(headers.get('connection')).toBe('close');
    finish();
    await closed;
  });

  it('disconnects the dashboard pages at the start of the shutdown', { tags: ['timed'] }, async ({ task }) => {
    const { url, app, clients } = await start();
    const events = await Events.open(`${url}/grpc/events`);
    await waitFor(() => events.last('whole'));
    const closeCalledAt = performance.now();
    // This application does not force-close connections, so close() would never resolve if it waited for open pages.
    await app.close();
    recordTiming(task, 'duration of close() with an open page, ms', performance.now() - closeCalledAt, {
      atMost: 2_000,
    });
    expect(clients.accepting).toBe(false);
    await waitFor(() => events.ended);
    expect(events.received.at(-1)).toMatchObject({ event: 'end' });
    // The last change reports that the application accepts no more calls.
    expect(events.last('change')).toMatchObject({ accepting: false });
  });
}

/** Properties that change with time, or whose timestamps may differ by a millisecond between two snapshots. */
const VOLATILE = ['at', 'connectivity', 'connections', 'recent', 'methods', 'retryBudget'];

function steady(snapshot: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const entries = Object.entries(snapshot).filter(([property]) => !VOLATILE.includes(property));
  return Object.fromEntries(entries.sort(([a], [b]) => a.localeCompare(b)));
}

function linksOf(page: string): string[] {
  return [...page.matchAll(/(?:href|src|data-trouble)="([^"]+)"/g)].map((match) => match[1]!);
}

/** Fetches every file that a page loads, including imports. */
async function filesOf(page: string): Promise<{ name: string; response: Response }[]> {
  const found = new Map<string, Response>();
  const wanted = linksOf(await (await fetch(page)).text()).map((link) => new URL(link, page).href);
  for (let url = wanted.shift(); url !== undefined; url = wanted.shift()) {
    if (found.has(url)) continue;
    const response = await fetch(url);
    found.set(url, response);
    const text = await response.text();
    for (const [, name] of text.matchAll(/^(?:import .* from|@import) '(\.\/[^']+)';$/gm))
      wanted.push(new URL(name!, url).href);
  }
  return [...found].map(([url, response]) => ({ name: url.slice(url.lastIndexOf('/') + 1), response }));
}
