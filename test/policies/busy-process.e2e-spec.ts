import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hedge, idleTimeout } from 'nestjs-resilient-grpc/operators';
import { ChildServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { defer, lastValueFrom, toArray } from 'rxjs';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { CallEnd, GrpcClientEvent } from 'nestjs-resilient-grpc';
import { hedged } from '../calls/service-configs.js';
import { failureOf, startClient, turns, type ClientSettings, type EchoService } from '../calls/support.js';

/** Timeout or hedging delay of the client in milliseconds. Far below `BLOCKED_MS`, so that it has passed when the event loop runs again. */
const TIMEOUT_MS = 250;
const BLOCKED_MS = 1_000;
/**
 * Time limit of the operators in milliseconds. The operators ignore only one blocked period, after which the server must respond within
 * this limit.
 */
const OPERATOR_TIMEOUT_MS = 750;

/** Starts a client, and a server in a separate process, which continues while this process is blocked. */
async function startDistant(settings: ClientSettings) {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const folder = mkdtempSync(join(tmpdir(), 'busy-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const log = join(folder, 'log');
  const server = await ChildServer.start({
    script: new URL('./observed-server.mjs', import.meta.url),
    args: (port) => ['--port', String(port), '--log', log],
  });
  onTestFinished(() => server.close());
  const client = await startClient({ url: server.url, ...settings });
  const has = (event: ServerEvent) => existsSync(log) && readFileSync(log, 'utf8').includes(event);
  return { server: { process: server, has }, client, echo: client.getService<EchoService>('Echo') };
}

/** 'connected': the server has sent its SETTINGS. 'answered': the server has sent a complete response. */
type ServerEvent = 'connected' | 'answered';

interface ObservedServer {
  readonly process: ChildServer;
  has(event: ServerEvent): boolean;
}

const sleeping = new Int32Array(new SharedArrayBuffer(4));

/** Blocks the event loop of this process for at least `BLOCKED_MS` and until `isOver` returns true. */
function block(isOver = () => true): void {
  const beganAt = performance.now();
  do {
    Atomics.wait(sleeping, 0, 0, BLOCKED_MS);
    if (performance.now() - beganAt > 30_000) throw new Error('The server did not answer within 30 s');
  } while (!isOver());
}

/**
 * Functions that block the event loop before the request is sent, or while the server responds. The first one blocks, lets the client send
 * the request, and, if `event` is given, blocks again until the server has logged `event`. The second one freezes the server while the
 * client sends the request, and then blocks until the server has logged `event`, which is 'answered' by default. The speed of the server
 * therefore does not matter.
 */
const MOMENTS: readonly [string, (server: ObservedServer, event?: ServerEvent) => Promise<void>][] = [
  [
    'before the request is sent',
    async (server, event) => {
      block();
      await turns();
      if (event !== undefined) block(() => server.has(event));
    },
  ],
  [
    'while the server answers',
    async (server, event = 'answered') => {
      server.process.freeze();
      await turns();
      server.process.thaw();
      block(() => server.has(event));
    },
  ],
];

describe('deadline that passes while the event loop is blocked', () => {
  it('does not end a call whose answer has arrived', async () => {
    const { client, echo, server } = await startDistant({});
    await client.waitForReady();
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { timeoutMs: TIMEOUT_MS }));
    server.process.freeze();
    await turns();
    server.process.thaw();
    block(() => server.has('answered'));
    expect(await answer).toMatchObject({ text: 'x' });
  });

  it('is blamed on this process if there is no answer', async () => {
    const { client, echo, server } = await startDistant({});
    await client.waitForReady();
    server.process.freeze();
    const failure = failureOf(echo.unary({ text: 'x' }, { timeoutMs: TIMEOUT_MS }));
    await turns();
    block();
    expect((await failure).message).toMatch(/this process was blocked, and noticed the deadline [\d.]+ s late/);
    server.process.thaw();
  });
});

describe.each(MOMENTS)('event loop blocked %s', (_when, blocked) => {
  it('sends no hedge if the hedging delay passes while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant(hedged(`${TIMEOUT_MS / 1_000}s`));
    await client.waitForReady();
    const ends: CallEnd[] = [];
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { onEnd: (end) => ends.push(end), timeoutMs: 20_000 }));
    await blocked(server, 'answered');
    expect(await answer).toMatchObject({ text: 'x' });
    expect(ends).toMatchObject([{ code: 0, attempts: [{ number: 1 }] }]);
    expect(client.snapshot().methods).toMatchObject([{ hedged: 0 }]);
  });

  it('times out no attempt if attemptTimeoutMs passes while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant({ methods: { '*': { attemptTimeoutMs: TIMEOUT_MS } } });
    await client.waitForReady();
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { timeoutMs: 20_000 }));
    await blocked(server, 'answered');
    expect(await answer).toMatchObject({ text: 'x' });
  });

  it('keeps the circuit closed if deadlines pass while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant({
      methods: { '*': { circuitBreaker: { minimumThroughput: 1, failureRatio: 0.01 } } },
    });
    await client.waitForReady();
    const calls = [1, 2, 3].map(() => lastValueFrom(echo.unary({ text: 'x' }, { timeoutMs: TIMEOUT_MS })));
    const settled = Promise.allSettled(calls);
    // Does not wait for responses, because the deadlines pass and the server might receive none of these calls.
    await blocked(server, 'connected');
    await settled;
    expect(await lastValueFrom(echo.unary({ text: 'admitted' }))).toMatchObject({ text: 'admitted' });
  });

  it('ends no stream as idle if streamIdleTimeoutMs passes while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant({ methods: { '*': { streamIdleTimeoutMs: TIMEOUT_MS } } });
    await client.waitForReady();
    const messages = lastValueFrom(echo.bidi([{ text: 'x' }]).pipe(toArray()));
    await blocked(server, 'answered');
    expect(await messages).toMatchObject([{ text: 'x' }]);
  });

  it('fails no connection attempt if connectTimeoutMs passes while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant({ connections: { connectTimeoutMs: TIMEOUT_MS } });
    const events: GrpcClientEvent[] = [];
    const subscription = client.events$.subscribe((event) => events.push(event));
    const answer = lastValueFrom(echo.unary({ text: 'x' }, { timeoutMs: 20_000 }));
    await blocked(server, 'connected');
    expect(await answer).toMatchObject({ text: 'x' });
    subscription.unsubscribe();
    expect(events.filter((event) => event.type === 'connection')).toMatchObject([{ change: 'connected' }]);
  });

  it('subscribes only once in hedge() if delayMs passes while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant({});
    await client.waitForReady();
    const calls = { started: 0 };
    const call = defer(() => {
      calls.started += 1;
      return echo.unary({ text: 'x' }, { timeoutMs: 20_000 });
    });
    const answer = lastValueFrom(call.pipe(hedge({ delayMs: OPERATOR_TIMEOUT_MS, maxAttempts: 3 })));
    await blocked(server);
    expect(await answer).toMatchObject({ text: 'x' });
    expect(calls.started).toBe(1);
  });

  it('does not trigger idleTimeout() if its time passes while the event loop is blocked', async () => {
    const { client, echo, server } = await startDistant({});
    await client.waitForReady();
    const messages = lastValueFrom(echo.bidi([{ text: 'x' }]).pipe(idleTimeout(OPERATOR_TIMEOUT_MS), toArray()));
    await blocked(server);
    expect(await messages).toMatchObject([{ text: 'x' }]);
  });
});
