import { status } from '@grpc/grpc-js';
import { ChildServer, captureLeaks, ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { get } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { closedAfterTest } from '../support/closed-after-test.js';
import { ORDERS_PROTO } from '../nest/places.js';
import { recordTiming } from '../support/timing.js';
import { HEALTH_PROTO } from './served-orders.js';
import { NestServer, type PlainServerOptions, type ServerFlag } from './support/nest-server.js';
import { PlainClient } from './support/plain-client.js';

/**
 * Timeout of a test in milliseconds. It is also the drain timeout in `LONG_DRAIN`, so that a test fails if its server waits for the whole
 * drain timeout.
 */
const TEST_TIMEOUT_MS = 60_000;
const LONG_DRAIN = { drain: { timeoutMs: TEST_TIMEOUT_MS } };
/** Drain timeout of servers that use the whole timeout. */
const DRAIN_MS = 1_000;
/** Time that Node needs to exit after the drain. */
const EXIT_MS = 200;
const SHORT_DRAIN = { drain: { timeoutMs: DRAIN_MS } };
/** Timeout for conditions that may take a long time on a busy machine. */
const PATIENTLY = { timeoutMs: 20_000 };
/** The request headers of a call. */
const REQUEST = {
  ':method': 'POST',
  ':path': '/orders.v1.Orders/Get',
  'content-type': 'application/grpc',
  te: 'trailers',
};

// Each server takes a second to start or to end, so the tests run concurrently and share one leak check.
let leaks: ReturnType<typeof captureLeaks>;
beforeAll(() => {
  leaks = captureLeaks();
});
afterAll(() => leaks.settled());

type Cleanup = TestContext['onTestFinished'];

async function startServer(
  onTestFinished: Cleanup,
  options: PlainServerOptions,
  flags: ServerFlag[] = [],
): Promise<NestServer> {
  return closedAfterTest(NestServer.start(options, flags), onTestFinished);
}

/** Starts an orders server that responds immediately, for handlers that call upstream. */
async function startUpstream(onTestFinished: Cleanup): Promise<ScriptedGrpcServer> {
  const upstream = await closedAfterTest(ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO }), onTestFinished);
  upstream.script<{ id: string }>('Get', ({ request: { id } }) => ({ message: { id } }));
  return upstream;
}

describe.concurrent('SIGTERM', () => {
  it(
    'exits immediately after SIGTERM if the clients of the server are connected but have no open call',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, LONG_DRAIN);
      const clients = [1, 2].map(() => new PlainClient(server.url, { onTestFinished }));
      await Promise.all(clients.map((client) => client.get()));
      recordTiming(task, 'time until an idle server exits, ms', await server.terminate(), { atMost: 500 });
      expect(server.output).toMatch(
        /server drained [\d.]+ m?s after the shutdown started: 0 calls finished, 0 streams ended, 0 cut off/,
      );
    },
  );

  it('lets handlers finish and call upstream after SIGTERM, then closes the upstream clients, and ignores a second SIGTERM', async ({
    onTestFinished,
  }) => {
    const upstream = await startUpstream(onTestFinished);
    const server = await startServer(onTestFinished, LONG_DRAIN, [`--upstream=${upstream.url}`]);
    const client = new PlainClient(server.url, { onTestFinished });
    const slow = client.get('held');
    // The response to this later call shows that both calls have arrived.
    await client.get();
    server.signal();
    await waitFor(() => server.output.includes('SIGTERM'), PATIENTLY);
    server.signal();
    await waitFor(() => server.output.match(/SIGTERM/g)?.length === 2, PATIENTLY);
    server.release();
    expect(await slow).toMatchObject({ id: 'held of upstream' });
    await server.ended();
    expect(server.output.match(/\[ResilientGrpcServer\].*server drained/g)).toHaveLength(1);
    expect(server.output).toMatch(
      /server drained [\d.]+ m?s after the shutdown started: 1 call finished, 0 streams ended, 0 cut off[^]*1 client drained [\d.]+ m?s after the shutdown started/,
    );
  });

  it.for<[string, boolean, 'SIGINT' | 'SIGTERM']>([
    ['a server', false, 'SIGTERM'],
    ['a server with clients', true, 'SIGINT'],
  ])(
    'cuts off calls at a later SIGINT while %s is draining, and reports it (clients: %s, first signal: %s)',
    async ([, hasClients, first], { onTestFinished }) => {
      const upstream = hasClients ? [await startUpstream(onTestFinished)] : [];
      const flags = upstream.map(({ url }): ServerFlag => `--upstream=${url}`);
      const server = await startServer(onTestFinished, LONG_DRAIN, ['--hybrid', ...flags]);
      const client = new PlainClient(server.url, { onTestFinished });
      const slow = client.get('held').catch(String);
      await client.get();
      server.signal(first);
      await waitFor(() => server.output.includes('shutdown started with'), PATIENTLY);
      // A second SIGINT that follows at once is one Ctrl+C, so more of them are sent.
      await waitFor(() => {
        server.signal('SIGINT');
        return server.output.includes('server drained');
      }, PATIENTLY);
      expect(await slow).toMatch(/14 UNAVAILABLE/);
      await server.exited();
      expect(server.output).toMatch(/server drained .*: 0 calls finished, 0 streams ended, 1 cut off/);
      // More time would not have helped.
      expect(server.output).not.toContain('raise drain.timeoutMs');
    },
  );

  it('keeps upstream clients open after SIGTERM while handlers run, even if the drain timeout of the clients has passed', async ({
    onTestFinished,
  }) => {
    const upstream = await startUpstream(onTestFinished);
    const flags: ServerFlag[] = [`--clients=${JSON.stringify({ timeoutMs: 100 })}`, '--hybrid'];
    const server = await startServer(onTestFinished, LONG_DRAIN, [`--upstream=${upstream.url}`, ...flags]);
    const client = new PlainClient(server.url, { onTestFinished });
    const slow = client.get('held');
    await client.get();
    server.signal();
    await waitFor(() => server.output.includes('SIGTERM'), PATIENTLY);
    // Three times the drain timeout of the clients.
    await new Promise((resolve) => setTimeout(resolve, 300));
    server.release();
    expect(await slow).toMatchObject({ id: 'held of upstream' });
    await server.exited();
    expect(server.output).not.toContain('did not close');
  });

  it(
    'ends served streams immediately after SIGTERM, with UNAVAILABLE or as `onDrain` requires, and a health Watch after it has sent NOT_SERVING',
    {
      tags: ['timed'],
    },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, {
        ...LONG_DRAIN,
        methods: { Session: { onDrain: 'complete' } },
      });
      const client = new PlainClient(server.url, { onTestFinished });
      const watches = Array.from({ length: 3 }, () => client.watch());
      const health = client.watchHealth();
      const session = client.session();
      const streams = [...watches, session, health];
      await waitFor(() => streams.every(({ messages }) => messages.length === 1), PATIENTLY);
      recordTiming(task, 'time until a server with open streams exits, ms', await server.terminate(), { atMost: 500 });
      await waitFor(() => streams.every((stream) => stream.status !== undefined), PATIENTLY);
      expect(watches.map((stream) => stream.status?.code)).toEqual([14, 14, 14]);
      expect(watches[0]?.status?.details).toBe('The server is shutting down');
      expect(session.status?.code).toBe(status.OK);
      expect(health.messages).toEqual([{ status: 'SERVING' }, { status: 'NOT_SERVING' }]);
      expect(health.status?.code).toBe(status.UNAVAILABLE);
      expect(server.output).toMatch(/0 calls finished, 1 stream completed, 3 streams ended, 0 cut off/);
    },
  );

  it('serves new and open calls during the readiness delay while the health of the server is NOT_SERVING', async ({
    onTestFinished,
  }) => {
    const server = await startServer(onTestFinished, {
      drain: { timeoutMs: 2 * TEST_TIMEOUT_MS, readinessDelayMs: TEST_TIMEOUT_MS },
    });
    const client = new PlainClient(server.url, { onTestFinished });
    const watch = client.watch();
    expect(await client.check()).toEqual({ status: 'SERVING' });
    await waitFor(() => watch.messages.length === 1, PATIENTLY);
    server.signal();
    await waitFor(async () => JSON.stringify(await client.check()) === '{"status":"NOT_SERVING"}', PATIENTLY);
    for (let served = 0; served < 10; served += 1) await new PlainClient(server.url, { onTestFinished }).get();
    expect(watch.status).toBeUndefined();
  });

  it(
    'exits after SIGTERM when the readiness delay of the server has passed, even if a stream is open',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const drain = { timeoutMs: TEST_TIMEOUT_MS, readinessDelayMs: 800 };
      const server = await startServer(onTestFinished, { drain });
      const watch = new PlainClient(server.url, { onTestFinished }).watch();
      await waitFor(() => watch.messages.length === 1, PATIENTLY);
      const endedAfterMs = await server.terminate();
      expect(endedAfterMs).toBeGreaterThanOrEqual(800);
      recordTiming(task, 'time until a server with a readiness delay of 800 ms exits, ms', endedAfterMs, {
        atMost: 800 + 500,
      });
    },
  );

  it(
    'exits after the drain timeout and logs the cut-off connection if a client never completes a request',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, SHORT_DRAIN);
      const session = connectHttp2(`http://${server.url}`).on('error', () => undefined);
      onTestFinished(() => {
        session.destroy();
      });
      const half = session.request(REQUEST, { endStream: false }).on('error', () => undefined);
      await new Promise((resolve) => half.write(Buffer.alloc(3), resolve));
      // The answer to this later ping shows that the incomplete request has arrived.
      await new Promise((resolve) => session.ping(resolve));
      const endedAfterMs = await server.terminate();
      expect(endedAfterMs).toBeGreaterThan(DRAIN_MS * 0.9 - 5);
      recordTiming(task, 'time until a server with an incomplete request exits, ms', endedAfterMs, {
        atMost: DRAIN_MS + EXIT_MS,
      });
      expect(server.output).toMatch(/WARN.*0 calls finished, 0 streams ended, 0 cut off, 1 connection cut off/);
    },
  );

  it(
    'drains immediately even if the HTTP server, which Nest closes first, hangs',
    {
      tags: ['timed'],
    },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, LONG_DRAIN, ['--hybrid']);
      const request = get(`http://127.0.0.1:${String(server.httpPort)}/never`).on('error', () => undefined);
      onTestFinished(() => void request.destroy());
      const watch = new PlainClient(server.url, { onTestFinished }).watch();
      await waitFor(async () => watch.messages.length === 1 && (await server.counts()).sockets === 2, PATIENTLY);
      server.signal();
      const line = /server drained (\d+) ms after the shutdown started: 0 calls finished, 1 stream ended, 0 cut off/;
      const [, ms] = await waitFor(() => line.exec(server.output), PATIENTLY);
      recordTiming(task, 'time until a server beside a hanging HTTP server is drained, ms', Number(ms), {
        atMost: 500,
      });
      await waitFor(() => watch.status !== undefined, PATIENTLY);
      expect(watch.status?.code).toBe(status.UNAVAILABLE);
      // Lets the process exit.
      request.destroy();
      await server.exited();
    },
  );
});

describe.concurrent('SIGTERM with stuck clients', () => {
  it(
    'exits after the drain timeout if clients keep streams open and one of the clients does not read',
    {
      tags: ['timed'],
    },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, { ...SHORT_DRAIN, onDrain: 'finish' });
      const watch = new PlainClient(server.url, { onTestFinished }).watch();
      const stuck = new PlainClient(server.url, { onTestFinished }).watch(1);
      await waitFor(() => watch.messages.length === 1 && stuck.messages.length > 2, PATIENTLY);
      stuck.call.pause();
      const endedAfterMs = await server.terminate();
      expect(endedAfterMs).toBeGreaterThan(DRAIN_MS * 0.9 - 5);
      recordTiming(task, 'time until a server with streams that do not finish exits, ms', endedAfterMs, {
        atMost: DRAIN_MS + EXIT_MS,
      });
      stuck.call.resume();
      await waitFor(() => watch.status !== undefined && stuck.status !== undefined, PATIENTLY);
      expect(watch.status).toMatchObject({ code: status.UNAVAILABLE, details: 'The server is shutting down' });
      // A client that received CANCELLED would not resume on another server.
      expect(stuck.status?.code).toBe(status.UNAVAILABLE);
      // One or two connections are cut off, because the client that reads may have closed its connection already.
      expect(server.output).toMatch(
        /WARN.*0 calls finished, 0 streams ended, 2 cut off \(2 calls to \/orders.v1.Orders\/Watch\), [12] connections? cut off; for streams without an end, set onDrain: 'fail' or 'complete'; to give other calls more time, raise drain.timeoutMs \(1 s\)/,
      );
    },
  );

  it('exits after the drain timeout if a client is frozen', { tags: ['timed'] }, async ({ onTestFinished, task }) => {
    const server = await startServer(onTestFinished, SHORT_DRAIN);
    const frozen = await ChildServer.start({
      script: new URL('./support/stuck-client.mjs', import.meta.url),
      args: () => ['--url', server.url, '--health', HEALTH_PROTO],
      readyTimeoutMs: 25_000,
    });
    onTestFinished(() => frozen.close());
    frozen.freeze();
    // From now on, the endless stream fills the socket buffers of the system.
    await waitFor(async () => (await server.counts()).streams === 2, PATIENTLY);
    recordTiming(task, 'time until a server with a frozen client exits, ms', await server.terminate(), {
      atMost: DRAIN_MS + EXIT_MS,
    });
  });

  it(
    'exits after the drain timeout if a TLS handshake hangs',
    { tags: ['timed'] },
    async ({ onTestFinished, task }) => {
      const server = await startServer(onTestFinished, SHORT_DRAIN, ['--tls']);
      const socket = connect(server.port, '127.0.0.1').on('error', () => undefined);
      onTestFinished(() => void socket.destroy());
      const client = new PlainClient(`localhost:${String(server.port)}`, { tls: true, onTestFinished });
      await client.get();
      await waitFor(async () => (await server.counts()).sockets === 2, PATIENTLY);
      recordTiming(task, 'time until a server with a hanging TLS handshake exits, ms', await server.terminate(), {
        atMost: DRAIN_MS + EXIT_MS,
      });
    },
  );
});
