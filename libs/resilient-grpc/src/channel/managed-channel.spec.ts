import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http2';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { Attempt } from '../call/attempt.js';
import type { Waiter, WaitRefusal } from '../call/call-transport.js';
import { EventHub } from '../call/event-hub.js';
import { DEFAULT_CLIENT_SETTINGS } from '../client/settings/client-options.js';
import { captureLeaks } from '../testing/leaks/capture-leaks.js';
import { attemptRequest } from '../../../../test/unit-support/attempt-request.js';
import { channelSettings } from '../../../../test/unit-support/channel-settings.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../testing/wait-for.js';
import type { ChannelSettings } from './channel-settings.js';
import { ManagedChannel } from './managed-channel.js';

// The tests use real sockets and virtual time. Only grpc-js's own timers, such as its backoff, use real time.

const GRACE_MS = 1_400;

/** Starts a server whose connections stay READY until they are reset. */
async function startServer() {
  const sockets = new Set<Socket>();
  const server = createServer();
  server.on('session', (session) => session.on('error', () => undefined));
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const resetAll = (): void => {
    for (const socket of sockets) socket.resetAndDestroy();
  };
  onTestFinished(async () => {
    resetAll();
    await new Promise((resolve) => server.close(resolve));
  });
  // Safe: the server listens on TCP.
  return { url: `127.0.0.1:${(server.address() as AddressInfo).port}`, resetAll };
}

/** Starts a TCP server. A connection that it accepts while `isSilent` is true receives no data. Every other connection becomes READY. */
async function startSilentServer() {
  const http2Server = createServer();
  const server = { url: '', isSilent: true, accepted: [] as Socket[] };
  const tcp = createTcpServer((socket) => {
    server.accepted.push(socket.on('error', () => undefined));
    if (!server.isSilent) http2Server.emit('connection', socket);
    // A paused socket would not detect the end of the connection.
    else socket.resume();
  });
  await new Promise<void>((resolve) => {
    tcp.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(async () => {
    for (const socket of server.accepted) socket.destroy();
    await new Promise((resolve) => tcp.close(resolve));
  });
  // Safe: the server listens on TCP.
  server.url = `127.0.0.1:${(tcp.address() as AddressInfo).port}`;
  return server;
}

function openChannel(
  target: string,
  clock: VirtualClock,
  settings: Partial<ChannelSettings> = {},
  events = new EventHub({ client: 'orders' }, () => clock.epoch()),
): ManagedChannel {
  const { channelOptions, ...others } = settings;
  const { settings: all } = channelSettings({
    target,
    outageGraceMs: GRACE_MS,
    // Longer than any test, so that this bound does not determine the pace at which waiting calls are released.
    releaseWithinMs: 600_000,
    maxWaitingCalls: 1_000,
    channelOptions: {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.client_idle_timeout_ms': 200_000,
      ...channelOptions,
    },
    ...others,
  });
  const channel = new ManagedChannel(all, { clock, random: () => 0.5, events, changed: () => undefined });
  onTestFinished(() => {
    channel.close();
  });
  return channel;
}

/** Makes a call wait for `channel`. By default, the call has no deadline and no bytes. */
function wait(channel: ManagedChannel, clock: VirtualClock, waiter: Partial<Waiter>): void {
  channel.wait({
    waitForReady: undefined,
    waitingSince: clock.now(),
    deadline: Infinity,
    bytes: 0,
    rateLimited: false,
    expectsPromptResponse: true,
    path: '/orders.v1.Orders/Get',
    release: () => undefined,
    refuse: () => undefined,
    ...waiter,
  });
}

it('refuses waiting calls without waitForReady when a connection that was READY at the end of the grace period is lost', async () => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await startServer();
  const clock = new VirtualClock();
  const channel = openChannel(server.url, clock);
  channel.current.channel.getConnectivityState(true);
  await waitFor(() => channel.ready);
  // A connection that closes immediately, without a response, starts an outage.
  server.resetAll();
  await waitFor(() => channel.connectivity.outage);

  const released: number[] = [];
  const refused: WaitRefusal[] = [];
  for (let number = 0; number < 100; number++) {
    wait(channel, clock, { release: () => released.push(number), refuse: (refusal) => refused.push(refusal) });
  }
  // The next attempt begins after 1 s. Its connection is READY for less than 1 s, so the outage does not end.
  await clock.advanceAsync(1_000);
  await waitFor(() => channel.ready);
  await clock.advanceAsync(GRACE_MS - 1_000 + 10);
  expect(channel.ready).toBe(true);
  expect(channel.connectivity.outage).toBeDefined();
  expect(refused).toEqual([]);
  expect(channel.waiting.size).toBeGreaterThan(50);

  server.resetAll();
  await waitFor(() => !channel.ready);
  clock.advance(0);
  expect(channel.waiting.size).toBe(0);
  expect(refused).toHaveLength(100 - released.length);
  expect(new Set(refused.map(({ reason }) => reason))).toEqual(new Set(['outage']));
});

/** Opens a channel in an outage: starts `calls` calls on its only connection and resets that connection immediately. */
async function openInOutage(
  calls = 0,
  settings: Partial<ChannelSettings> = {},
): Promise<{ readonly channel: ManagedChannel; readonly clock: VirtualClock }> {
  const server = await startServer();
  const clock = new VirtualClock();
  const channel = openChannel(server.url, clock, settings);
  channel.current.channel.getConnectivityState(true);
  await waitFor(() => channel.ready);
  for (let call = 0; call < calls; call++) startCall(channel);
  server.resetAll();
  await waitFor(() => channel.connectivity.outage);
  return { channel, clock };
}

function startCall(channel: ManagedChannel): Attempt {
  const ignore = (): void => undefined;
  const listener = { onHeaders: ignore, onMessage: ignore, onEnd: ignore };
  return channel.start(attemptRequest(), listener);
}

/** Makes 500 calls wait for the connection that ends the outage. Returns the number released in the first 1.5 s of the connection. */
async function countReleased(
  { channel, clock }: Awaited<ReturnType<typeof openInOutage>>,
  onRelease: (waiter: Waiter) => void = () => undefined,
): Promise<number> {
  let released = 0;
  for (let number = 0; number < 500; number++) {
    const waiter: Waiter = {
      waitForReady: true,
      waitingSince: clock.now(),
      deadline: Infinity,
      bytes: 0,
      rateLimited: false,
      expectsPromptResponse: true,
      path: '/orders.v1.Orders/Get',
      release: () => {
        released += 1;
        onRelease(waiter);
      },
      refuse: () => undefined,
    };
    channel.wait(waiter);
  }
  await clock.advanceAsync(1_000);
  await waitFor(() => channel.ready);
  clock.advance(1_500);
  return released;
}

/** Queues a call whose request has `bytes` bytes. Returns its refusal; `undefined` if the call may wait. */
function refusalOf(
  { channel, clock }: Awaited<ReturnType<typeof openInOutage>>,
  bytes: number,
): WaitRefusal | undefined {
  let refused: WaitRefusal | undefined;
  wait(channel, clock, { bytes, refuse: (refusal) => (refused = refusal) });
  clock.advance(0);
  return refused;
}

it.each([
  [
    'maxWaitingCalls',
    { maxWaitingCalls: 3 },
    10,
    '3 calls with 30 request bytes are already waiting (maxWaitingCalls: 3)',
  ],
  [
    'maxWaitingBytes',
    { maxWaitingBytes: 35 },
    10,
    '3 calls with 30 request bytes are already waiting (limit: 35 bytes; this request: 10)',
  ],
])('refuses a call above %s during an outage, and names the limit in the error', async (_, limits, bytes, details) => {
  const outage = await openInOutage(0, limits);
  for (let call = 0; call < 3; call++) expect(refusalOf(outage, bytes)).toBeUndefined();
  const refusal = refusalOf(outage, bytes);
  expect(refusal).toMatchObject({ reason: 'too-many-waiting' });
  expect(refusal?.details).toContain(details);
});

it('explains in the refusal of a call on a READY channel that waiting calls are being released', async () => {
  const outage = await openInOutage(0, { maxWaitingBytes: 1_000 });
  for (let call = 0; call < 100; call++) expect(refusalOf(outage, 10)).toBeUndefined();
  await outage.clock.advanceAsync(1_000);
  await waitFor(() => outage.channel.ready);
  expect(outage.channel.connectivity.outage).toBeDefined();
  expect(refusalOf(outage, 2_000)?.details).toMatch(
    /^127\.0\.0\.1:\d+ is READY \(waiting calls are being released at a limited rate\); \d+ calls with \d+ request bytes are already waiting/,
  );
});

it('allows 1,000 calls of 272 KiB to wait during an outage under the default limits', async () => {
  const { maxWaitingCalls, maxWaitingBytes } = DEFAULT_CLIENT_SETTINGS;
  const outage = await openInOutage(0, { maxWaitingCalls, maxWaitingBytes });
  for (let call = 0; call < 1_000; call++) expect(refusalOf(outage, 272 * 1_024)).toBeUndefined();
});

/** Opens a channel to a socket that does not exist yet. The channel's backoff after a failed attempt is longer than the test. */
function openWithoutServer(clock: VirtualClock): { readonly channel: ManagedChannel; readonly path: string } {
  const directory = mkdtempSync(join(tmpdir(), 'channel-'));
  onTestFinished(() => {
    rmSync(directory, { recursive: true });
  });
  const path = join(directory, 'server.sock');
  const channel = openChannel(`unix:${path}`, clock, {
    channelOptions: { 'grpc.initial_reconnect_backoff_ms': 600_000, 'grpc.max_reconnect_backoff_ms': 600_000 },
  });
  return { channel, path };
}

/** Makes a call wait for `channel`. Returns an array that receives the outcome of the call. */
function waitFrom(channel: ManagedChannel, clock: VirtualClock, waitForReady?: boolean): string[] {
  const ends: string[] = [];
  wait(channel, clock, {
    waitForReady,
    release: () => ends.push('released'),
    refuse: ({ reason }) => ends.push(reason),
  });
  return ends;
}

it('refuses only waiting calls with waitForReady: false when an outage begins', async () => {
  const clock = new VirtualClock();
  const { channel } = openWithoutServer(clock);
  const [failing, byDefault, waiting] = [false, undefined, true].map((waitForReady) =>
    waitFrom(channel, clock, waitForReady),
  );
  clock.advance(0);
  await waitFor(() => channel.connectivity.outage);
  clock.advance(0);
  expect([failing, byDefault, waiting]).toEqual([['outage'], [], []]);
});

it('connects within a second while calls fail, and keeps the backoff after the grace period without calls', async () => {
  const clock = new VirtualClock();
  const { channel } = openWithoutServer(clock);
  const attempts = (): number => channel.connectivity.outage?.connectAttempts ?? 0;
  let made = 1;
  const failOne = async (waitForReady?: boolean): Promise<void> => {
    const ends = waitFrom(channel, clock, waitForReady);
    await clock.advanceAsync(1_000);
    expect(ends).toEqual(['outage']);
    await waitFor(() => attempts() > made);
    expect(attempts()).toBe((made += 1));
  };
  waitFrom(channel, clock, false);
  clock.advance(0);
  await waitFor(() => attempts() === made);
  await failOne(false);
  await clock.advanceAsync(GRACE_MS);
  for (const laterMs of [0, 60_000, 3_600_000]) {
    await clock.advanceAsync(laterMs);
    expect(attempts()).toBe(made);
    for (let call = 0; call < 3; call++) await failOne();
  }
});

it('releases waiting calls faster if the client made more calls before the outage', async () => {
  const withoutLoad = await countReleased(await openInOutage());
  const withLoad = await countReleased(await openInOutage(200));
  expect(withLoad).toBeGreaterThan(3 * withoutLoad);
});

it('increases the connect timeout while attempts to connect time out, and resets it after a successful attempt', async () => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await startSilentServer();
  const clock = new VirtualClock();
  const channel = openChannel(server.url, clock, {
    connection: 'warm',
    // The outage grace period is shorter than this timeout, so the timeout grows from the second attempt on.
    connectTimeoutMs: 2_000,
    // The backoff starts with the attempt and ends before the attempt times out, so the next attempt follows immediately.
    channelOptions: { 'grpc.initial_reconnect_backoff_ms': 1, 'grpc.max_reconnect_backoff_ms': 1 },
  });
  clock.advance(0);
  /** Lets attempt number `count` time out after `ms`. Returns the error of this attempt when the next one has started. */
  const timeOut = async (count: number, ms: number): Promise<string | undefined> => {
    await waitFor(() => server.accepted.length === count);
    clock.advance(ms);
    await waitFor(() => server.accepted.length === count + 1);
    return channel.connectivity.lastError;
  };
  expect(await timeOut(1, 2_000)).toContain('timed out after 2.0 s');
  expect(await timeOut(2, 4_000)).toContain('timed out after 4.0 s');
  server.isSilent = false;
  clock.advance(8_000);
  await waitFor(() => channel.ready);
  // The client reconnects immediately, because the lost connection was open for a minute.
  clock.advance(60_000);
  server.isSilent = true;
  const connected = server.accepted.length;
  server.accepted.at(-1)!.destroy();
  await waitFor(() => !channel.ready);
  clock.advance(0);
  expect(await timeOut(connected + 1, 2_000)).toContain('timed out after 2.0 s');
});

it('increases the connect timeout of a silent endpoint while another endpoint is READY', async () => {
  const [silent, ready] = [await startSilentServer(), await startSilentServer()];
  ready.isSilent = false;
  const clock = new VirtualClock();
  const channel = openChannel(`ipv4:${silent.url},${ready.url}`, clock, {
    connection: 'warm',
    loadBalancing: [{ round_robin: {} }],
    connectTimeoutMs: 2_000,
    channelOptions: { 'grpc.initial_reconnect_backoff_ms': 1, 'grpc.max_reconnect_backoff_ms': 1 },
  });
  clock.advance(0);
  await waitFor(() => channel.ready);
  for (const [index, timeoutMs] of [2_000, 4_000, 8_000].entries()) {
    await waitFor(() => silent.accepted.length === index + 1);
    clock.advance(timeoutMs - 1);
    await new Promise((resolve) => setImmediate(resolve));
    expect([silent.accepted.length, channel.ready]).toEqual([index + 1, true]);
    clock.advance(1);
  }
});

it('includes the time of a timed-out attempt to connect in the outage duration that the error reports', async () => {
  const server = await startSilentServer();
  const clock = new VirtualClock();
  const channel = openChannel(server.url, clock, {
    connection: 'warm',
    channelOptions: { 'grpc.initial_reconnect_backoff_ms': 60_000, 'grpc.max_reconnect_backoff_ms': 60_000 },
  });
  clock.advance(0);
  await waitFor(() => server.accepted.length === 1);
  const refused: WaitRefusal[] = [];
  wait(channel, clock, { refuse: (refusal) => refused.push(refusal) });
  clock.advance(20_000);
  await waitFor(() => channel.connectivity.outage);
  await clock.advanceAsync(GRACE_MS + 10);
  await waitFor(() => refused.length === 1);
  expect(refused[0]?.details).toMatch(/has been unreachable for 21\.\d s \(1 connection attempt, /);
});

it('reports once that calls wait for a slow attempt to connect, and names the silent peer in every error', async () => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await startSilentServer();
  const clock = new VirtualClock();
  const events = new EventHub({ client: 'orders' }, () => clock.epoch());
  const slow: unknown[] = [];
  events.listen((event) => event.type === 'slow-connect' && slow.push(event), false);
  const channel = openChannel(server.url, clock, {}, events);
  const refused: WaitRefusal[] = [];
  const waitOnce = (): void => {
    wait(channel, clock, { refuse: (refusal) => refused.push(refusal) });
  };
  waitOnce();
  clock.advance(0);
  await waitFor(() => channel.whyNotReady().includes('has not responded'));
  clock.advance(1_400);
  expect(slow).toEqual([]);
  expect(channel.remedy).toBeUndefined();
  waitOnce();
  clock.advance(100);
  const silent = 'the peer accepted the TCP connection but has not responded';
  expect(slow).toEqual([expect.objectContaining({ cause: `connecting for 1.5 s: ${silent}`, waiting: 2 })]);
  expect(channel.whyNotReady()).toBe(`${server.url} is CONNECTING (connecting for 1.5 s: ${silent})`);
  expect(channel.remedy).toContain('check whether the process is stuck');
  clock.advance(18_500);
  await waitFor(() => channel.connectivity.outage);
  clock.advance(GRACE_MS);
  const timedOut = `${server.url} accepts the connection but does not respond (timed out after 20.0 s)`;
  expect(refused.map(({ details }) => details)).toEqual([
    expect.stringContaining(timedOut),
    expect.stringContaining(timedOut),
  ]);
  expect(slow).toHaveLength(1);
});

it('keeps the explanation of a failed attempt to connect until grpc-js reports a different error', async () => {
  const server = await startSilentServer();
  const clock = new VirtualClock();
  const handle = vi.spyOn(ManagedChannel.prototype, 'handle');
  onTestFinished(() => {
    handle.mockRestore();
  });
  const channel = openChannel(server.url, clock);
  wait(channel, clock, {});
  clock.advance(0);
  await waitFor(() => channel.whyNotReady().includes('has not responded'));
  clock.advance(20_000);
  await waitFor(() => channel.connectivity.outage);
  const { lastError, lastFailure } = channel.connectivity;
  expect(lastFailure?.kind).toBe('silent');
  const failed = handle.mock.calls.find(([, event]) => event.type === 'state' && event.error !== undefined)!;
  // Repeats the error, as grpc-js does after a lookup of the name.
  channel.handle(...failed);
  expect(channel.connectivity).toMatchObject({ lastError, lastFailure });
  channel.handle(channel.current, { type: 'state', state: 'TRANSIENT_FAILURE', error: 'Name resolution failed' });
  expect(channel.connectivity.lastError).toContain('Name resolution failed');
});
