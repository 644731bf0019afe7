import { status } from '@grpc/grpc-js';
import { ChildServer, captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { get } from 'node:http';
import { connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:net';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { HEALTH_PROTO } from './served-orders.js';
import { NestServer, type PlainServerOptions, type ServerFlag } from './support/nest-server.js';
import { PlainClient } from './support/plain-client.js';

const leaks = captureLeaks();
afterAll(() => leaks.settled());

/** The whole time of a shutdown, and what Node needs to end. */
const TIME_MS = 1_000;
const TO_END_MS = 200;
/** Of a call, as a client sends it. */
const REQUEST = {
  ':method': 'POST',
  ':path': '/orders.v1.Orders/Get',
  'content-type': 'application/grpc',
  te: 'trailers',
};
const DRAIN = { drain: { timeoutMs: TIME_MS } };

async function started(options: PlainServerOptions = DRAIN, flags: ServerFlag[] = []): Promise<NestServer> {
  const server = await NestServer.start(options, flags);
  onTestFinished(() => server.close());
  return server;
}

describe('a server that gets SIGTERM', () => {
  it('ends by itself at once where nothing is open', async () => {
    const server = await started();
    expect(await server.terminate()).toBeLessThan(500);
    expect(server.output).toMatch(/drained in \d+ ms: 0 calls finished, 0 streams ended, 0 cut off/);
  });

  it('ends at once where clients are connected and call nothing', async () => {
    const server = await started();
    const clients = [new PlainClient(server.url), new PlainClient(server.url)];
    await Promise.all(clients.map((client) => client.get()));
    expect(await server.terminate()).toBeLessThan(500);
  });

  it('lets calls finish that are answered once, and takes a second SIGTERM for the same', async () => {
    const server = await started();
    const client = new PlainClient(server.url);
    const slow = client.get('slow:600');
    // Answered behind it: both have arrived.
    await client.get();
    server.signal();
    await waitFor(() => server.output.includes('SIGTERM'));
    server.signal();
    expect(await slow).toMatchObject({ id: 'slow:600' });
    expect(await server.ended()).toBeLessThan(TIME_MS);
    expect(server.output.match(/drained in/g)).toHaveLength(1);
    expect(server.output).toMatch(/1 call finished, 0 streams ended, 0 cut off/);
  });

  it('lets handlers call out until they have finished, and its own clients end after that', async () => {
    const upstream = await started();
    const server = await started(DRAIN, [`--upstream=${upstream.url}`]);
    const client = new PlainClient(server.url);
    const slow = client.get('slow:600');
    await client.get();
    server.signal();
    expect(await slow).toMatchObject({ id: 'slow:600 of upstream' });
    expect(await server.ended()).toBeLessThan(TIME_MS);
    expect(server.output).toMatch(/drained in \d+ ms: 1 call finished.*[^]*drained 1 client in \d+ ms/);
  });

  it('keeps its own clients for handlers that may still finish, though these have less time', async () => {
    const upstream = await started();
    const server = await started({ drain: { timeoutMs: 5_000 } }, [
      `--upstream=${upstream.url}`,
      `--clients=${JSON.stringify({ timeoutMs: 100 })}`,
      '--hybrid',
    ]);
    const client = new PlainClient(server.url);
    const slow = client.get('slow:600');
    await client.get();
    server.signal();
    expect(await slow).toMatchObject({ id: 'slow:600 of upstream' });
    await server.gone();
    expect(server.output).not.toContain('has not closed');
  });

  it('passes the readiness delays of its two halves side by side', async () => {
    const upstream = await started();
    const delay = { timeoutMs: 5_000, readinessDelayMs: 1_000 };
    const server = await started({ drain: delay }, [
      `--upstream=${upstream.url}`,
      `--clients=${JSON.stringify(delay)}`,
      '--hybrid',
    ]);
    await new PlainClient(server.url).get();
    const signalledAt = performance.now();
    server.signal();
    await server.gone();
    expect(performance.now() - signalledAt).toBeGreaterThanOrEqual(1_000);
    expect(performance.now() - signalledAt).toBeLessThan(1_900);
  });

  it('ends streams at once, UNAVAILABLE or as their method says', async () => {
    const server = await started({ ...DRAIN, methods: { Session: { onDrain: 'complete' } } });
    const client = new PlainClient(server.url);
    const watches = Array.from({ length: 3 }, () => client.watch());
    const session = client.session();
    await waitFor(() => [...watches, session].every(({ messages }) => messages.length === 1));
    expect(await server.terminate()).toBeLessThan(500);
    await waitFor(() => [...watches, session].every((stream) => stream.status !== undefined));
    expect(watches.map((stream) => stream.status?.code)).toEqual([14, 14, 14]);
    expect(watches[0]?.status?.details).toBe('The server is shutting down');
    expect(session.status?.code).toBe(status.OK);
    expect(server.output).toMatch(/0 calls finished, 1 stream completed, 3 streams ended, 0 cut off/);
  });

  it('ends a Watch of health behind NOT_SERVING, and is not held by it', async () => {
    const server = await started();
    const watch = new PlainClient(server.url).watchHealth();
    await waitFor(() => watch.messages.length === 1);
    expect(await server.terminate()).toBeLessThan(500);
    await waitFor(() => watch.status !== undefined);
    expect(watch.messages).toEqual([{ status: 'SERVING' }, { status: 'NOT_SERVING' }]);
    expect(watch.status?.code).toBe(status.UNAVAILABLE);
  });

  it('serves everything in the readiness delay, and says NOT_SERVING', async () => {
    const server = await started({ drain: { timeoutMs: 5_000, readinessDelayMs: 800 } });
    const client = new PlainClient(server.url);
    const watch = client.watch();
    expect(await client.check()).toEqual({ status: 'SERVING' });
    await waitFor(() => watch.messages.length === 1);
    const signalledAt = performance.now();
    server.signal();
    await waitFor(async () => JSON.stringify(await client.check()) === '{"status":"NOT_SERVING"}');
    let served = 0;
    while (performance.now() - signalledAt < 600) {
      await new PlainClient(server.url).get();
      served += 1;
    }
    expect(served).toBeGreaterThan(1);
    expect(watch.status).toBeUndefined();
    const endedAfterMs = await server.ended();
    expect(endedAfterMs).toBeGreaterThanOrEqual(800);
    expect(endedAfterMs).toBeLessThan(800 + 500);
  });
});

describe('a server that gets SIGTERM', () => {
  it('does not wait for a request of which nothing comes any more, and says so', async () => {
    const server = await started({ drain: { timeoutMs: 8_000 } });
    const session = connectHttp2(`http://${server.url}`).on('error', () => undefined);
    onTestFinished(() => {
      session.destroy();
    });
    const half = session.request(REQUEST, { endStream: false }).on('error', () => undefined);
    half.write(Buffer.alloc(3));
    await new PlainClient(server.url).get();
    expect(await server.terminate()).toBeLessThan(4_000);
    expect(server.output).toMatch(/WARN.*0 calls finished, 0 streams ended, 0 cut off, 1 connection cut off/);
  });
});

describe('a server that gets SIGTERM ends within its time', () => {
  it('with a client that never lets go of a stream which may finish', async () => {
    const server = await started({ ...DRAIN, onDrain: 'finish' });
    const watch = new PlainClient(server.url).watch();
    await waitFor(() => watch.messages.length === 1);
    const endedAfterMs = await server.terminate();
    expect(endedAfterMs).toBeGreaterThan(TIME_MS * 0.9 - 5);
    expect(endedAfterMs).toBeLessThan(TIME_MS + TO_END_MS);
    await waitFor(() => watch.status !== undefined);
    expect(watch.status).toMatchObject({ code: status.UNAVAILABLE, details: 'The server is shutting down' });
    expect(server.output).toMatch(
      /WARN.*0 calls finished, 0 streams ended, 1 cut off \(1 call of \/orders.v1.Orders\/Watch\)/,
    );
  });

  it('with a client that is frozen', async () => {
    const server = await started();
    const frozen = await ChildServer.start({
      script: new URL('./support/stuck-client.mjs', import.meta.url),
      args: () => ['--url', server.url, '--health', HEALTH_PROTO],
    });
    onTestFinished(() => frozen.close());
    frozen.freeze();
    // As much as the system takes is on its way by now.
    await waitFor(async () => (await server.counts()).streams === 2);
    expect(await server.terminate()).toBeLessThan(TIME_MS + TO_END_MS);
  });

  it('with a handshake of TLS that hangs', async () => {
    const server = await started(DRAIN, ['--tls']);
    const socket = connect(server.port, '127.0.0.1').on('error', () => undefined);
    onTestFinished(() => void socket.destroy());
    const client = new PlainClient(`localhost:${String(server.port)}`, { tls: true });
    await client.get();
    await waitFor(async () => (await server.counts()).sockets === 2);
    expect(await server.terminate()).toBeLessThan(TIME_MS + TO_END_MS);
  });

  it('with a client that does not read what waits for it', async () => {
    const server = await started({ ...DRAIN, onDrain: 'finish' });
    const watch = new PlainClient(server.url).watch(1);
    await waitFor(() => watch.messages.length > 2);
    watch.call.pause();
    expect(await server.terminate()).toBeLessThan(TIME_MS + TO_END_MS);
    watch.call.resume();
    await waitFor(() => watch.status !== undefined);
    // Not CANCELLED, after which a client would not go on elsewhere.
    expect(watch.status?.code).toBe(status.UNAVAILABLE);
  });

  it('and drains although the HTTP server of a hybrid application hangs, which Nest closes first', async () => {
    const server = await started(DRAIN, ['--hybrid']);
    const request = get(`http://127.0.0.1:${String(server.httpPort)}/never`).on('error', () => undefined);
    onTestFinished(() => void request.destroy());
    const watch = new PlainClient(server.url).watch();
    await waitFor(async () => watch.messages.length === 1 && (await server.counts()).sockets === 2);
    server.signal();
    const line = /drained in (\d+) ms: 0 calls finished, 1 stream ended, 0 cut off/;
    const [, ms] = await waitFor(() => line.exec(server.output));
    // Not when the time is over.
    expect(Number(ms)).toBeLessThan(500);
    expect(watch.status?.code).toBe(status.UNAVAILABLE);
    // Now it may end.
    request.destroy();
    await server.gone();
  });
});
