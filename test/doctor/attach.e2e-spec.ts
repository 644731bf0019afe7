import { createServer, type RequestListener } from 'node:http';
import { once } from 'node:events';
import { createServer as createHttpsServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo, type Server } from 'node:net';
import { readFileSync } from 'node:fs';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { captureLeaks, FaultProxy, freePort, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';

import { firstValueFrom } from 'rxjs';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { runDoctor } from '../../libs/resilient-grpc/dist/doctor/run-doctor.js';
import {
  KeyGuard,
  KeysModule,
  ORDERS_PROTO,
  startDashboardApp,
  type DashboardApp,
} from '../dashboard/dashboard-app.js';
import { certificate } from '../nest/places.js';
import { command } from './support.js';

beforeEach(({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

async function startScriptedServer(): Promise<ScriptedGrpcServer> {
  const server = await ScriptedGrpcServer.start({
    protoPath: ORDERS_PROTO,
    scripts: { Get: { message: { item: 'tea' } } },
  });
  onTestFinished(() => server.close());
  return server;
}

const clientOf = (name: string, url: string) => ({ name, url, outageGraceMs: 60_000, protoPath: ORDERS_PROTO });

/** Starts a server on a free port. Resolves to the URL of a dashboard page on that port. */
async function listening(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/grpc`;
}

const serve = (listener: RequestListener) => listening(createServer(listener));

/** Runs `doctor attach` in its own process, without a terminal. */
const attachOnce = (...args: readonly string[]) => command(['doctor', 'attach', ...args]);

/** A terminal of 24 rows in which `doctor attach` runs. */
class Screen {
  columns = 80;
  rows = 24;
  readonly isTTY = true;
  isRaw = false;
  text = '';
  private readonly listeners = new Set<(bytes: Buffer) => void>();
  private code: Promise<number> | undefined;

  start(...args: readonly string[]): this {
    this.code = runDoctor(['doctor', 'attach', ...args], { env: {}, stdout: this, stderr: this, stdin: this.keys });
    return this;
  }

  hasColors = () => true;
  write = (text: string) => (this.text += text);

  /** The lines of the last frame, without colors. */
  get frame(): readonly string[] {
    const last = this.text.split('\u001b[H').at(-1)!;
    return last.replaceAll(/\u001b\[[\d?]*[A-Za-z]/g, '').split('\r\n');
  }

  line(pattern: RegExp): string | undefined {
    return this.frame.find((line) => pattern.test(line));
  }

  shows(pattern: RegExp): Promise<unknown> {
    return waitFor(() => this.line(pattern) !== undefined, {
      timeoutMs: 20_000,
      describe: () => `${String(pattern)} in\n${this.frame.join('\n')}`,
    });
  }

  /** Presses a key. Resolves to the exit code when `doctor attach` exits. */
  async press(key: string): Promise<number | undefined> {
    for (const listener of this.listeners) listener(Buffer.from(key));
    return this.code;
  }

  private readonly keys = {
    isTTY: true,
    setRawMode: (isRaw: boolean) => (this.isRaw = isRaw),
    on: (_event: 'data', listener: (bytes: Buffer) => void) => this.listeners.add(listener),
    off: (_event: 'data', listener: (bytes: Buffer) => void) => this.listeners.delete(listener),
    resume: () => undefined,
    pause: () => undefined,
  };
}

async function startDashboard(options: Parameters<typeof startDashboardApp>[0]): Promise<DashboardApp> {
  const app = await startDashboardApp(options);
  let isClosed = false;
  const close = async () => {
    if (isClosed) return;
    isClosed = true;
    await app.close();
  };
  onTestFinished(close);
  return { ...app, close };
}

describe('attach without a terminal', () => {
  it('prints one frame with the state, the endpoints, and the figures of each client if attach runs without a terminal', async () => {
    const [one, two] = [await startScriptedServer(), await startScriptedServer()];
    const { url, orders } = await startDashboard({
      clients: [
        { ...clientOf('orders', `ipv4:${one.url},${two.url}`), loadBalancing: 'round_robin' },
        clientOf('stock', two.url),
      ],
    });
    await firstValueFrom(orders('orders').get({ id: '1' }));
    await waitFor(async () => (await attachOnce(`${url}/grpc`)).stdout.match(/READY/g)?.length === 2);
    const { code, stdout, stderr } = await attachOnce(`${url}/grpc/`);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).not.toMatch(/\u001b/);
    expect(stdout).toContain('accepting calls, 2 clients');
    expect(stdout).toMatch(/^orders +Healthy +\S+ +0% +0 +0$/m);
    expect(stdout).toMatch(/^stock +Idle +0 +- +0 +0$/m);
    expect(stdout).toMatch(new RegExp(`^  ${one.url} +READY`, 'm'));
    expect(stdout).toMatch(new RegExp(`^  ${two.url} +READY`, 'm'));
    for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
  });

  it('counts no failure in a frame of attach if a stream resumed after its connection was lost', async () => {
    const server = await startScriptedServer();
    server.script('Watch', ({ request }) => ({
      messages: [{ sequence: String(Number((request as { readonly from: string }).from) + 1) }],
      never: true,
    }));
    const { url, orders } = await startDashboard({ clients: [clientOf('orders', server.url)] });
    await firstValueFrom(orders('orders').get({ id: '1' }));
    const received: string[] = [];
    const feed = resumable((from: string) => orders('orders').watch({ from }), {
      cursor: ({ sequence }) => sequence,
      seed: '0',
      compare: (a, b) => Number(a) - Number(b),
    }).subscribe(({ sequence }) => received.push(sequence));
    onTestFinished(() => feed.unsubscribe());
    await waitFor(() => received.length === 1);
    await server.restart('kill-connections');
    await waitFor(() => received.length === 2);
    await waitFor(async () => (await attachOnce(`${url}/grpc`)).stdout.includes('Healthy'));
    const { stdout } = await attachOnce(`${url}/grpc`);
    expect(stdout).toMatch(/^orders +Healthy +\S+ +0% +0 +1$/m);
  });

  it('shows the servers of the application in a frame of attach', async () => {
    const { url } = await startDashboard({
      server: { url: '127.0.0.1:0', protoPath: ORDERS_PROTO, package: 'orders.v1' },
    });
    const { stdout } = await attachOnce(`${url}/grpc`);
    expect(stdout).toContain('accepting calls, 0 clients, 1 server');
    expect(stdout).toMatch(/^127\.0\.0\.1:\S+ +no +0 +0$/m);
  });

  it('shows "no retries" in a frame of attach only if the retry budget allows no retries', async () => {
    const server = await startScriptedServer();
    server.script('Get', { status: 'UNAVAILABLE' });
    const retryThrottling = { maxTokens: 10, tokenRatio: 0.1 };
    const { url, clients, orders } = await startDashboard({
      clients: [
        clientOf('orders', server.url),
        { ...clientOf('stock', server.url), serviceConfig: { retryThrottling } },
      ],
    });
    const use = async (name: string, isEnough: (tokens: number) => boolean) => {
      while (!isEnough(clients.get(name).snapshot().retryBudget.tokens))
        await firstValueFrom(orders(name).get({ id: '1' })).catch(() => undefined);
      return clients.get(name).snapshot().retryBudget;
    };
    expect(await use('orders', (tokens) => tokens <= 5)).toMatchObject({ maxTokens: 10, allows: true });
    expect((await attachOnce(`${url}/grpc`)).stdout).not.toContain('no retries');
    expect(await use('stock', (tokens) => tokens <= 5)).toEqual({ tokens: 5, maxTokens: 10, allows: false });
    await waitFor(async () => (await attachOnce(`${url}/grpc`)).stdout.includes('  no retries: 5.0 of 10 tokens left'));
  });

  it('escapes control characters in every string that a dashboard sends to attach', async () => {
    const { url, clients } = await startDashboard({ clients: [clientOf('orders', '127.0.0.1:1')] });
    const { version, accepting } = (await (await fetch(`${url}/grpc/snapshot`)).json()) as Record<string, unknown>;
    const escape = '\u001b]0;title\u0007';
    const connection = { address: `a${escape}`, state: `s${escape}`, health: `h${escape}`, since: escape, ended: 0 };
    const ejected = { reason: `r${escape}`, until: escape };
    const client = {
      ...clients.get('orders').snapshot(),
      target: escape,
      waiting: escape,
      connections: [
        connection,
        { ...connection, ejected },
        { ...connection, streams: { open: escape, limit: escape } },
      ],
      outages: {
        total: escape,
        latest: [{ since: escape, durationMs: 1, waitedCalls: escape, failedCalls: escape, cause: escape }],
      },
    };
    const server = {
      address: escape,
      overload: { limits: [{ running: escape, maxConcurrent: 1 }], queued: escape, shed: escape },
    };
    const at = new Date().toISOString();
    const body = JSON.stringify({ version, at, accepting, clients: [client], servers: [server] });
    const hostile = await serve((_request, response) => {
      response.setHeader('content-type', 'application/json');
      response.end(body);
    });
    const { stdout, stderr } = await attachOnce(hostile);
    expect(stdout).toContain('s\\u001b]0;title');
    expect(stdout).toContain('h\\u001b]0;title');
    expect(`${stdout}${stderr}`).not.toMatch(/[\u0000-\u0009\u000b-\u001f]/);
  });

  it('escapes control characters of client names in a frame of attach', async () => {
    const { url } = await startDashboard({ clients: [clientOf('or\u001b[31mders\n', '127.0.0.1:1')] });
    const { stdout } = await attachOnce(`${url}/grpc`);
    expect(stdout).toContain('or\\u001b[31mders\\u000a');
  });
});

describe('attach with a terminal', () => {
  it('shows an outage and its end in the terminal of attach, and exits on q', async () => {
    const server = await startScriptedServer();
    const proxy = await FaultProxy.start(server.url);
    onTestFinished(() => proxy.close());
    const { url, orders } = await startDashboard({ clients: [clientOf('orders', proxy.url)] });
    await firstValueFrom(orders('orders').get({ id: '1' }));
    const screen = new Screen().start(`${url}/grpc`);
    await screen.shows(/^orders +Healthy /);
    expect(screen.isRaw).toBe(true);

    proxy.refuse();
    proxy.resetAll();
    const waiting = firstValueFrom(orders('orders').get({ id: '2' }));
    await screen.shows(/^orders +Outage .* 1 +1$/);
    await screen.shows(/^ {2}outage since \d\d:\d\d:\d\d: \d+ failed attempts?.*longest wait/);
    expect(screen.frame.join('\n')).toContain('1 waiting call fails in');

    await proxy.forward();
    await waiting;
    await screen.shows(/^orders +Healthy /);
    await screen.shows(/^ {2}last outage at \S+ for .* 1 call waited, 0 failed/);
    for (const line of screen.frame) expect(line.length).toBeLessThanOrEqual(80);

    expect(await screen.press('q')).toBe(0);
    expect(screen.isRaw).toBe(false);
    // The terminal is restored.
    expect(screen.text).toMatch(/^\u001b\[\?1049h\u001b\[\?25l/);
    expect(screen.text).toMatch(/\u001b\[\?25h\u001b\[\?1049l$/);
  });

  it('truncates the rows of attach in a terminal of 40 to 55 columns', async () => {
    const [one, two] = [await startScriptedServer(), await startScriptedServer()];
    const targets = `ipv4:${one.url},${two.url}`;
    const { url, orders } = await startDashboard({
      clients: [{ ...clientOf('orders', targets), loadBalancing: 'round_robin' }],
      server: { url: '127.0.0.1:0', protoPath: ORDERS_PROTO, package: 'orders.v1' },
    });
    await firstValueFrom(orders('orders').get({ id: '1' }));
    const screen = new Screen();
    screen.columns = 55;
    screen.start(`${url}/grpc`);
    for (; screen.columns >= 40; screen.columns -= 5) {
      await screen.shows(new RegExp(`^(?=.{${screen.columns}}$)CLIENT .*…$`));
      await screen.shows(/^SERVER .*…$/);
      await screen.shows(new RegExp(`^ {2}${one.url} +READY`));
      for (const line of screen.frame) expect(line.length).toBeLessThanOrEqual(screen.columns);
    }
    await screen.press('q');
  });

  it('keeps the last data in the terminal of attach while the application restarts, and exits on Ctrl-C', async () => {
    const port = await freePort();
    const first = await startDashboard({ port, clients: [clientOf('orders', '127.0.0.1:1')] });
    const screen = new Screen().start(`${first.url}/grpc`);
    await screen.shows(/^orders +Idle/);
    await first.close();
    await screen.shows(/^no data for /);
    expect(screen.frame.join(' ')).toContain('is unreachable: connect ECONNREFUSED');
    expect(screen.line(/^orders +Idle/)).toBeDefined();
    await startDashboard({ port, clients: [clientOf('stock', '127.0.0.1:1')] });
    await screen.shows(/^stock +Idle/);
    expect(screen.line(/no data/)).toBeUndefined();
    expect(await screen.press('\u0003')).toBe(0);
  });

  it('keeps the last data in the terminal of attach if a later snapshot is incomplete', async () => {
    const { url } = await startDashboard({ clients: [clientOf('orders', '127.0.0.1:1')] });
    let body = await (await fetch(`${url}/grpc/snapshot`)).text();
    const screen = new Screen().start(await serve((_request, response) => response.end(body)));
    await screen.shows(/^orders +Idle/);
    body = JSON.stringify({ ...JSON.parse(body), clients: [{ name: 'orders' }] });
    await screen.shows(/^no data for /);
    expect(screen.frame.join(' ')).toContain('sends a snapshot that the doctor cannot show');
    expect(screen.line(/^orders +Idle/)).toBeDefined();
    expect(await screen.press('q')).toBe(0);
  });

  it('uses 80 columns and 24 rows for attach if the terminal reports a size of 0', async () => {
    const clients = Array.from({ length: 30 }, (_, index) => clientOf(`client-${index}`, '127.0.0.1:1'));
    const { url } = await startDashboard({ clients });
    const screen = new Screen();
    screen.columns = 0;
    screen.rows = 0;
    screen.start(`${url}/grpc`);
    await screen.shows(/^CLIENT .* OPEN$/);
    expect(screen.line(/^CLIENT/)).toHaveLength(80);
    expect(screen.frame).toHaveLength(24);
    await screen.press('q');
  });

  it('shows the number of lines that do not fit in the terminal of attach', async () => {
    const clients = Array.from({ length: 30 }, (_, index) => clientOf(`client-${index}`, '127.0.0.1:1'));
    const { url } = await startDashboard({ clients });
    const screen = new Screen().start(`${url}/grpc`);
    await screen.shows(/^\d+ more lines; enlarge the terminal$/);
    expect(screen.frame.length).toBeLessThanOrEqual(24);
    await screen.press('q');
  });
});

describe('attach to an unusable URL', () => {
  it('reports missing credentials for a dashboard, and sends the header from --header', async () => {
    const guarded = { guards: [KeyGuard], imports: [KeysModule] };
    const { url } = await startDashboard({ dashboard: guarded, clients: [clientOf('orders', '127.0.0.1:1')] });
    const refused = await attachOnce(`${url}/grpc`);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain(
      "requires credentials (403)\n-> pass the header that the dashboard's guard requires, such as --header",
    );
    const admitted = await attachOnce(`${url}/grpc`, '--header', 'x-key: sesame');
    expect(admitted).toMatchObject({ code: 0, stdout: expect.stringMatching(/^orders +Idle/m) });
  });

  it.each([
    ['another path of the application', '/grpcs', 'is not a dashboard (404)'],
    ['the path of the snapshot', '/grpc/snapshot', 'is not a dashboard (404)'],
  ])('suggests writing the URL of the dashboard page if attach receives %s', async (_what, path, message) => {
    const { url } = await startDashboard({});
    const { code, stderr } = await attachOnce(`${url}${path}`);
    expect(code).toBe(1);
    expect(stderr).toContain(message);
    expect(stderr).toContain('write the URL of the dashboard page');
  });

  it.each<[string, RequestListener, string]>([
    [
      'an HTML page',
      (_request, response) => response.end('<html>'),
      'is not a dashboard: it responds with no content type',
    ],
    [
      'a redirect to a login page',
      (_request, response) => response.writeHead(302, { location: '/login' }).end(),
      'redirects to /login (302)',
    ],
    [
      'a snapshot of a later version',
      (_request, response) => response.end(JSON.stringify({ version: 2, clients: [] })),
      'sends snapshots of version 2, but this doctor reads version 1',
    ],
  ])('reports the cause if attach receives %s instead of a dashboard', async (_what, answer, message) => {
    const { code, stderr } = await attachOnce(await serve(answer));
    expect(code).toBe(1);
    expect(stderr).toContain(message);
  });

  it.each([
    ['without properties of a client', { clients: [{}] }, ''],
    ['with null as a client', { clients: [null] }, ''],
    ['without servers', { servers: undefined }, ''],
    ['without its time', { at: undefined }, 'at: expected a time, got nothing'],
    ['with an invalid time', { at: 'soon' }, 'at: expected a time, got "soon"'],
    ['with a number as its time', { at: 5 }, 'at: expected a time, got 5'],
    [
      'without the state of the application',
      { accepting: undefined },
      'accepting: expected true or false, got nothing',
    ],
  ])('reports that attach received a snapshot %s', async (_what, properties, problem) => {
    const complete = { version: 1, at: '2026-11-21T12:00:00.000Z', accepting: true, clients: [], servers: [] };
    const url = await serve((_request, response) => response.end(JSON.stringify({ ...complete, ...properties })));
    const { code, stderr } = await attachOnce(url);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^http:\S+ sends a snapshot that the doctor cannot show: .*\n-> check the URL.*\n$/);
    expect(stderr).toContain(`cannot show: ${problem}`);
  });

  it.each([['upgrade: x\r\nconnection: upgrade\r\n'], ['']])(
    'reports that the server is not a dashboard if attach receives 101 with the headers %j',
    async (headers) => {
      const server = createTcpServer((socket) => {
        socket.on('error', () => undefined).once('data', () => socket.end(`HTTP/1.1 101 X\r\n${headers}\r\n`));
      });
      const { code, stderr } = await attachOnce(await listening(server));
      expect(code).toBe(1);
      expect(stderr).toContain(' is not a dashboard (101)\n-> write the URL of the dashboard page');
    },
  );

  it('names NODE_EXTRA_CA_CERTS if attach does not trust the certificate authority of the application', async () => {
    const pem = (name: string) => readFileSync(certificate(name));
    const server = createHttpsServer({ key: pem('server-key'), cert: pem('server') });
    const url = (await listening(server)).replace('http:', 'https:');
    const { code, stderr } = await attachOnce(url);
    expect(code).toBe(1);
    expect(stderr).toMatch(/ sends a certificate that the doctor does not trust: .*\n-> set NODE_EXTRA_CA_CERTS /);
  });

  it('reports a remedy if attach cannot reach the application', async () => {
    const { code, stderr } = await attachOnce(`http://127.0.0.1:${await freePort()}/grpc`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/is unreachable: connect ECONNREFUSED .*\n-> check the host and the port/);
  });
});

describe('arguments of attach', () => {
  it.each([
    [[], 'url: expected the URL of a dashboard, got nothing; write it like http://127.0.0.1:3000/grpc'],
    [['127.0.0.1:3000/grpc'], 'url: expected the URL of a dashboard, got "127.0.0.1:3000/grpc"'],
    [['http://on-call:sesame@127.0.0.1/grpc'], 'url: expected no username or password in the URL; write --header'],
    [
      ['http://127.0.0.1/grpc', '--header', 'sesame'],
      "--header: expected a name, a colon, and a valid value, got other text (not shown); write 'x-key: sesame'",
    ],
    [['http://127.0.0.1/grpc', '--tls'], '--tls: has no effect with attach; remove it'],
  ])('rejects invalid arguments of attach, and names the remedy: %j', async (args, problem) => {
    const { code, stdout, stderr } = await attachOnce(...args);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(problem);
    expect(stderr).not.toContain('sesame@');
  });

  it('rejects --json with attach, and reports the error as a JSON document that names the URL of the snapshot', async () => {
    const { code, stdout, stderr } = await attachOnce('http://127.0.0.1/grpc', '--json');
    expect([code, stderr]).toEqual([2, '']);
    const message = 'has no effect with attach; for JSON, request <url>/snapshot';
    expect(JSON.parse(stdout)).toMatchObject({ exitCode: 2, problems: [{ path: '--json', message }] });
  });

  it('rejects an attach option if the doctor runs without attach', async () => {
    const { code, stderr } = await command(['doctor', '127.0.0.1:1', '--once']);
    expect([code, stderr]).toEqual([2, expect.stringContaining('--once: requires attach; write doctor attach <url>')]);
  });
});
