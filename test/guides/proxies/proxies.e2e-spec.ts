import { setTimeout as delay } from 'node:timers/promises';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { ScriptedGrpcServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom, lastValueFrom, take, type Observable } from 'rxjs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CreateOrderRequest } from '../../../src/gen/orders.pb.js';
import { CallLoad } from '../../support/call-load.js';
import { ORDERS_PROTO, aboveDebug, startOrdersApp, type OrdersApp } from '../../support/orders-app.js';
import { skipWithout } from '../../support/programs.js';
import type { Changes } from '../shown.js';
import { HAPROXY, NGINX, RealProxy, type ProxyKind } from './real-proxy.js';

let leaks: ReturnType<typeof captureLeaks>;
let servers: readonly ScriptedGrpcServer[];
let proxy: RealProxy | undefined;
let app: OrdersApp | undefined;

beforeEach(async () => {
  leaks = captureLeaks();
  proxy = undefined;
  app = undefined;
  servers = await Promise.all(
    ['one', 'two'].map((item) =>
      ScriptedGrpcServer.start({
        protoPath: ORDERS_PROTO,
        scripts: {
          Get: { message: { item } },
          Create: { message: { item } },
          Watch: { messages: [{ sequence: '1' }], never: true },
          Upload: { message: { count: 1 } },
        },
      }),
    ),
  );
});
afterEach(async () => {
  await app?.close();
  await proxy?.close();
  await Promise.all(servers.map((server) => server.close()));
  await leaks.settled();
});

/** Starts a client behind a proxy that is configured as in docs/deploy/proxies.md, except for `changes`. */
async function startClientBehind(
  kind: ProxyKind,
  changes: Changes = {},
): Promise<{ proxy: RealProxy; app: OrdersApp }> {
  const ports = servers.map(({ port }) => port);
  proxy = await RealProxy.start(kind, ports, changes);
  app = await startOrdersApp({ url: proxy.url });
  return { proxy, app };
}

/** Error details of a call that received a web page. */
const webPage = (httpStatus: number): string =>
  `Received HTTP status code ${httpStatus} with content-type text/html: a proxy or web server responded instead of the gRPC server`;

const order = (requestId: string): CreateOrderRequest => ({ requestId, item: 'tea', quantity: 1 });

/**
 * Sends at most five writes at a time, so that a slow machine sends fewer. Writes are not safe to repeat, so the client resends only a write
 * that no server has processed.
 */
function startWrites({ orders }: OrdersApp): CallLoad {
  return CallLoad.start(200, (number) => orders.create(order(String(number))), 5);
}

/** Waits until 30 more calls have succeeded. */
async function waitForThirtyMore(load: CallLoad): Promise<void> {
  const before = load.succeeded.length;
  await waitFor(() => load.succeeded.length >= before + 30, { timeoutMs: 20_000 });
}

async function failureOf(call: Observable<unknown>): Promise<unknown> {
  return lastValueFrom(call).then(
    () => undefined,
    (error: unknown) => error,
  );
}

/** Changes that make each proxy close streams and connections that are silent for a second. */
const IMPATIENT: Readonly<Record<ProxyKind['name'], Changes>> = {
  nginx: { 'grpc_read_timeout 1h;': 'grpc_read_timeout 1s; keepalive_timeout 1s;' },
  haproxy: { 'timeout client 1h': 'timeout client 1s', 'timeout server 1h': 'timeout server 1s' },
};

describe.each([NGINX, HAPROXY])('client behind $name', (kind) => {
  beforeEach(({ skip }) => {
    skip(...skipWithout(kind.name));
  });

  it(`fails no call when ${kind.name} reloads its configuration`, async () => {
    const { proxy, app } = await startClientBehind(kind);
    const load = startWrites(app);
    for (const ended of [1, 2]) {
      await waitForThirtyMore(load);
      proxy.reload();
      await waitFor(() => app.client.snapshot().connections[0]?.ended === ended, { timeoutMs: 20_000 });
    }
    await waitForThirtyMore(load);
    await load.stop();
    expect(load.failed).toEqual([]);
  });

  it(`fails no call while one server behind ${kind.name} is down, and fails calls with the reason http if no server is left`, async () => {
    const { app } = await startClientBehind(kind);
    const [one, two] = servers as [ScriptedGrpcServer, ScriptedGrpcServer];
    await firstValueFrom(app.orders.create(order('1')));
    await one.stop('kill-connections');
    const load = startWrites(app);
    await waitForThirtyMore(load);
    await load.stop();
    expect(load.failed).toEqual([]);

    await two.stop('kill-connections');
    const details = webPage(kind === NGINX ? 502 : 503);
    const failure = { codeName: 'UNAVAILABLE', reason: 'http', reachedServer: 'maybe', details };
    expect(await failureOf(app.orders.create(order('2')))).toMatchObject({ ...failure, attempts: { length: 1 } });
    expect(await failureOf(app.orders.get({ id: '1' }))).toMatchObject({ ...failure, attempts: { length: 4 } });
    expect(app.client.connectivity).toMatchObject({ state: 'READY' });
    await two.restart();
    await waitFor(async () => (await failureOf(app.orders.create(order('3')))) === undefined);
  });

  it(`reconnects on the next call after ${kind.name} closes an idle connection`, async () => {
    const { app } = await startClientBehind(kind, IMPATIENT[kind.name]);
    await firstValueFrom(app.orders.create(order('1')));
    await waitFor(() => app.client.connectivity.state === 'IDLE', { timeoutMs: 20_000 });
    await firstValueFrom(app.orders.create(order('2')));
    expect(aboveDebug(app)).toEqual([]);
  });

  it(`loses a stream that is silent for too long behind ${kind.name}, and resumable() resumes it`, async () => {
    const { app } = await startClientBehind(kind, IMPATIENT[kind.name]);
    const failure = failureOf(app.orders.watch({ from: '0' }));
    const feed = resumable((from: bigint) => app.orders.watch({ from: String(from) }), {
      cursor: ({ sequence }) => BigInt(sequence),
      seed: 0n,
    });
    const seen = lastValueFrom(feed.pipe(take(2)));
    await waitFor(() => calls('Watch') >= 2);
    for (const server of servers) server.script('Watch', { messages: [{ sequence: '2' }], never: true });
    expect(await failure).toMatchObject({ codeName: 'UNAVAILABLE', reason: 'connection-lost', reachedServer: 'yes' });
    expect(await seen).toMatchObject({ sequence: '2' });
  });
});

function calls(method: string): number {
  return servers.reduce((sum, server) => sum + server.counts(method).calls, 0);
}

describe('client behind nginx only', () => {
  beforeEach(({ skip }) => {
    skip(...skipWithout('nginx'));
  });

  it('fails no call when a server is removed from nginx and then stopped', async () => {
    const { proxy, app } = await startClientBehind(NGINX);
    const [one] = servers as [ScriptedGrpcServer];
    const load = startWrites(app);
    await waitForThirtyMore(load);
    const before = proxy.workers();
    proxy.reload({ 'orders-1:50051 max_fails=0;': 'orders-1:50051 max_fails=0 down;' });
    await waitFor(() => app.client.snapshot().connections[0]?.ended === 1, { timeoutMs: 20_000 });
    // After the old worker has exited, no call is in flight to the server.
    await waitFor(() => !proxy.workers().some((pid) => before.includes(pid)), { timeoutMs: 20_000 });
    expect(one.counts('Create').open).toBe(0);
    await one.stop('kill-connections');
    await waitForThirtyMore(load);
    await load.stop();
    expect(load.failed).toEqual([]);
  });

  it('fails a call that sends more than 1 MiB through nginx if client_max_body_size is not set, and completes the call if client_max_body_size is 0', async () => {
    const { app } = await startClientBehind(NGINX, { 'client_max_body_size 0;': '' });
    const uploads = Array.from({ length: 20 }, () => order('x'.repeat(100_000)));
    const failure = { codeName: 'UNKNOWN', reason: 'http', details: webPage(413) };
    expect(await failureOf(app.orders.upload(uploads))).toMatchObject(failure);
    proxy?.reload();
    await waitFor(async () => (await failureOf(app.orders.upload(uploads))) === undefined);
  });

  it('fails a request stream with INTERNAL if it is silent for too long behind nginx', async () => {
    const { app } = await startClientBehind(NGINX, { 'client_body_timeout 1h;': 'client_body_timeout 1s;' });
    const ended = new AbortController();
    async function* silent() {
      yield order('1');
      await delay(20_000, undefined, { signal: ended.signal }).catch(() => undefined);
    }
    const failure = { codeName: 'INTERNAL', message: '13 INTERNAL: Received RST_STREAM with code 1' };
    expect(await failureOf(app.orders.upload(silent()))).toMatchObject(failure);
    ended.abort();
  });
});

it.for([
  {
    kind: NGINX,
    side: 'clients',
    changes: { ' http2;': ';' },
    reason: 'outage',
    text: /responds with HTTP\/1 or another protocol/,
  },
  {
    kind: NGINX,
    side: 'servers',
    // The timeout ends the response in the rare case that the session of Node's server stops without closing the connection.
    changes: { 'grpc_pass grpc:': 'proxy_read_timeout 1s; proxy_pass http:' },
    // nginx forwards the HTTP/2 frames of the server as a response.
    codeName: 'UNKNOWN',
    reason: 'http',
    text: /HTTP status code 0/,
  },
  {
    kind: HAPROXY,
    side: 'servers',
    changes: { '1:50051 proto h2': '1:50051', '2:50051 proto h2': '2:50051' },
    reason: 'http',
    text: /HTTP status code 502/,
  },
] as const)('fails calls behind $kind.name if $kind.name uses HTTP/1 with its $side', async (row, { skip }) => {
  skip(...skipWithout(row.kind.name));
  const { app } = await startClientBehind(row.kind, row.changes);
  const failure = await failureOf(app.orders.get({ id: '1' }, { retry: false, waitForReady: false }));
  const [reason, message] = [expect.stringMatching(row.reason), expect.stringMatching(row.text)];
  expect(failure).toMatchObject({
    codeName: 'UNAVAILABLE',
    ...('codeName' in row && { codeName: row.codeName }),
    reason,
    message,
  });
});
