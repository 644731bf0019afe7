import { createServer, type ServerHttp2Session, type ServerOptions } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { Attempt, AttemptEnd } from '../../call/attempt.js';
import type { GrpcClientEvent } from '../../call/call-event.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodDescriptor } from '../../call/method.js';
import { FaultProxy } from '../../testing/fault-proxy/fault-proxy.js';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { attemptRequest } from '../../../../../test/unit-support/attempt-request.js';
import { channelSettings } from '../../../../../test/unit-support/channel-settings.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import { ManagedChannel } from '../managed-channel.js';

// Tests how a channel handles connections that may be dead, with real sockets and a virtual clock.

const HEALTH_CHECK = '/grpc.health.v1.Health/Check';
const ANSWERED = '/testing.v1.Echo/Answered';
const SILENT = '/testing.v1.Echo/Silent';
/** Time from the first call timeout to the verdict if `random` returns 0.5: 7.5 s of silence, then a 5 s probe. */
const VERDICT_MS = 12_500;

const method = (path: string): MethodDescriptor => ({
  path,
  service: 'testing.v1.Echo',
  method: path,
  kind: 'unary',
  requestStream: false,
  responseStream: false,
  declaredIdempotent: false,
  requestSerialize: (message) => message as Buffer,
  responseDeserialize: (bytes) => bytes,
});

/** Starts a server that responds to all calls except calls to `Silent`. */
async function startServer(options: ServerOptions = {}) {
  const calls: string[] = [];
  const sessions = new Set<ServerHttp2Session>();
  const received = { pings: 0 };
  const server = createServer(options);
  server.on('session', (session) => {
    sessions.add(session.on('error', () => undefined).on('ping', () => (received.pings += 1)));
    session.once('close', () => sessions.delete(session));
  });
  server.on('stream', (stream, headers) => {
    const path = String(headers[':path']);
    calls.push(path);
    stream.on('error', () => undefined);
    if (path === SILENT) return;
    stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '0' }, { endStream: true });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(async () => {
    for (const session of sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  // Safe: the server listens on TCP.
  const proxy = await FaultProxy.start(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => proxy.close());
  return { proxy, calls, sessions, received };
}

interface Running {
  readonly attempt: Attempt;
  readonly end: AttemptEnd | undefined;
}

interface SetUpOptions {
  readonly loadBalancing?: 'pick_first' | 'round_robin';
  readonly connection?: 'warm' | 'on-demand';
  readonly idleTimeoutMs?: number;
}

async function setUp(proxies: readonly FaultProxy[], options: SetUpOptions = {}) {
  const { loadBalancing = 'pick_first', connection = 'warm', idleTimeoutMs = 200_000 } = options;
  const clock = new VirtualClock();
  const events: GrpcClientEvent[] = [];
  const hub = new EventHub({ client: 'echo' }, () => clock.epoch());
  hub.listen((event) => events.push(event), false);
  const [first] = proxies;
  const { settings, rotate } = channelSettings({
    target: proxies.length === 1 ? first!.url : `ipv4:${proxies.map(({ url }) => url).join(',')}`,
    connection,
    loadBalancing: [{ [loadBalancing]: {} }],
    channelOptions: {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.client_idle_timeout_ms': idleTimeoutMs,
    },
  });
  const channel = new ManagedChannel(settings, { clock, random: () => 0.5, events: hub, changed: () => undefined });
  onTestFinished(() => {
    channel.close();
  });
  if (connection === 'warm') clock.advance(0);
  else channel.current.channel.getConnectivityState(true);
  await waitFor(() => channel.ready);

  const start = (path: string): Running => {
    const running: { attempt: Attempt; end: AttemptEnd | undefined } = { attempt: undefined!, end: undefined };
    running.attempt = channel.start(attemptRequest({ method: method(path) }), {
      onHeaders: () => undefined,
      onMessage: () => undefined,
      onEnd: (end) => {
        running.end = end;
      },
    });
    running.attempt.startRead();
    running.attempt.send(Buffer.alloc(0));
    running.attempt.halfClose();
    onTestFinished(() => {
      running.attempt.abandon();
    });
    return running;
  };
  const callServer = async (): Promise<AttemptEnd> => {
    const call = start(ANSWERED);
    await waitFor(() => call.end !== undefined, { timeoutMs: 30_000 });
    expect(call.end).toMatchObject({ code: 0 });
    return call.end!;
  };
  /** Starts calls. After 1 s, cancels the calls without a response. Returns the peer of each cancelled call; `undefined` for the others. */
  const timeOut = async (count = 3, path = ANSWERED): Promise<readonly (string | undefined)[]> => {
    const calls = Array.from({ length: count }, () => start(path));
    await passTurns();
    await clock.advanceAsync(1_000);
    for (const { attempt, end } of calls) if (end === undefined) attempt.cancel('deadline', 4, 'Deadline exceeded');
    clock.advance(0);
    await waitFor(() => calls.every(({ end }) => end !== undefined));
    return calls.map(({ end }) => (end?.code === 4 ? end.peer : undefined));
  };
  const replacements = () => events.filter(({ type }) => type === 'connection-replaced');
  const states = () => channel.history.map(({ to }) => to);
  return { clock, channel, start, callServer, timeOut, replacements, states, rotate, events };
}

const READY_THROUGHOUT = ['CONNECTING', 'READY'];

// Registers the leak check first, so that it runs last, because the cleanups of a test run in reverse order.
beforeEach(() => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

describe('black-holed connection', () => {
  it('closes a black-holed connection when its replacement is READY', async () => {
    const { proxy } = await startServer();
    const { clock, channel, start, callServer, timeOut, replacements, states } = await setUp([proxy]);
    await callServer();
    const hangingCall = start(SILENT);
    proxy.holdBytes();
    await timeOut();
    await clock.advanceAsync(VERDICT_MS - 1);
    expect(proxy.counters.accepted).toBe(1);
    await clock.advanceAsync(1);
    await waitFor(() => proxy.counters.accepted === 2);
    await waitForLastByte(proxy);
    expect(hangingCall.end).toBeUndefined();
    expect(replacements()).toEqual([]);
    await clock.advanceAsync(1_000);
    await waitFor(() => hangingCall.end !== undefined);
    expect(hangingCall.end).toMatchObject({
      code: 14,
      details: 'Connection dropped',
      endedHere: 'no',
      wire: { timedOut: true },
    });
    await callServer();
    await waitFor(() => proxy.counters.open === 1);
    expect(replacements()).toMatchObject([
      { reason: 'suspicion', address: proxy.url, timeouts: 3, silentMs: 13_250, by: 'new-channel' },
    ]);
    expect(states()).toEqual(READY_THROUGHOUT);
    expect(channel.connectivity.outage).toBeUndefined();
  });

  it('keeps a black-holed connection while its replacement is not READY, and also after bytes arrive again', async () => {
    const { proxy } = await startServer();
    const { clock, callServer, start, timeOut, replacements, states, events } = await setUp([proxy]);
    await callServer();
    const hangingCall = start(SILENT);
    proxy.holdBytes();
    await proxy.staySilent();
    await timeOut();
    await clock.advanceAsync(VERDICT_MS);
    await waitFor(() => proxy.counters.accepted === 2);
    await clock.advanceAsync(10_000);
    expect(proxy.counters.open).toBe(2);
    expect(hangingCall.end).toBeUndefined();
    expect(events.filter(({ type }) => type === 'dead-connection')).toMatchObject([
      { address: proxy.url, timeouts: 3, silentMs: VERDICT_MS },
    ]);
    proxy.releaseBytes();
    await callServer();
    await clock.advanceAsync(250);
    await waitFor(() => proxy.counters.open === 1);
    await proxy.forward();
    await callServer();
    await clock.advanceAsync(60_000);
    expect(hangingCall.end).toBeUndefined();
    expect(proxy.counters.accepted).toBe(2);
    expect(replacements()).toEqual([]);
    expect(states()).toEqual(READY_THROUGHOUT);
  });

  it('reconnects as usual if a black-holed connection is reset before its replacement is READY', async () => {
    const { proxy } = await startServer();
    const { clock, callServer, timeOut, replacements, states } = await setUp([proxy]);
    await callServer();
    proxy.holdBytes();
    await proxy.staySilent();
    await timeOut();
    await clock.advanceAsync(VERDICT_MS);
    await waitFor(() => proxy.counters.accepted === 2);
    await proxy.forward();
    proxy.resetAll();
    await waitFor(() => states().length > 2);
    clock.advance(0);
    await waitFor(() => states().at(-1) === 'READY');
    await callServer();
    expect(states().slice(2)).toEqual(['IDLE', 'CONNECTING', 'READY']);
    expect(replacements()).toEqual([]);
    expect(proxy.counters.open).toBe(1);
  });

  it('ends the suspicion of a connection if the channel goes idle', async () => {
    const { proxy } = await startServer();
    const { clock, timeOut, replacements, states } = await setUp([proxy], {
      connection: 'on-demand',
      idleTimeoutMs: 1_000,
    });
    proxy.holdBytes();
    await proxy.staySilent();
    await timeOut();
    await clock.advanceAsync(VERDICT_MS);
    await waitFor(() => proxy.counters.accepted === 2);
    await waitFor(() => states().length > 2);
    // Ends the connection, which the silent peer does not close.
    await clock.advanceAsync(5_000);
    await waitFor(() => proxy.counters.open === 0);
    expect(states().slice(2)).toEqual(['IDLE']);
    expect(replacements()).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('creates no replacement for a connection that was already replaced because the credentials changed', async () => {
    const { proxy } = await startServer();
    const { clock, callServer, start, replacements, rotate } = await setUp([proxy]);
    await callServer();
    const old = Array.from({ length: 3 }, () => start(SILENT));
    const last = start(SILENT);
    await passTurns();
    proxy.holdBytes();
    rotate();
    await waitFor(() => replacements().length === 1);
    for (const { attempt } of old) attempt.cancel('deadline', 4, 'Deadline exceeded');
    clock.advance(0);
    await waitFor(() => old.every(({ end }) => end !== undefined));
    await clock.advanceAsync(VERDICT_MS);
    await callServer();
    expect(proxy.counters.accepted).toBe(2);
    expect(replacements()).toMatchObject([{ reason: 'credentials' }]);
    expect(last.end).toBeUndefined();
  });

  it('clears all timers if the channel is closed during a probe', async () => {
    const { proxy } = await startServer();
    const { clock, channel, callServer, timeOut } = await setUp([proxy]);
    await callServer();
    proxy.holdBytes();
    await timeOut();
    await clock.advanceAsync(VERDICT_MS - 1_000);
    channel.close();
    clock.advance(0);
    expect(clock.pending).toBe(0);
    proxy.releaseBytes();
  });
});

describe('suspected connection with several addresses', () => {
  it('ends the suspicion of a connection if the connection is reset', async () => {
    const [a, b] = [await startServer(), await startServer()];
    const { clock, callServer, timeOut, replacements } = await setUp([a.proxy, b.proxy], {
      loadBalancing: 'round_robin',
    });
    await waitFor(() => a.proxy.counters.open + b.proxy.counters.open === 2);
    await waitFor(async () => (await callServer()).peer === a.proxy.url);
    a.proxy.holdBytes();
    await timeOut(6);
    await clock.advanceAsync(VERDICT_MS - 1_000);
    a.proxy.resetAll();
    await waitFor(() => a.proxy.counters.accepted === 2);
    await clock.advanceAsync(20_000);
    await callServer();
    expect(b.proxy.counters.accepted).toBe(1);
    expect(replacements()).toEqual([]);
  });
});

describe('server that responds', () => {
  it('keeps a connection without a free stream if the server answers a PING', async () => {
    const { proxy, calls, received } = await startServer({ settings: { maxConcurrentStreams: 1 } });
    const { clock, start, callServer, timeOut, replacements } = await setUp([proxy]);
    await callServer();
    const hangingCall = start(SILENT);
    await waitFor(() => calls.includes(SILENT));
    await timeOut();
    await clock.advanceAsync(VERDICT_MS - 2_500);
    await waitFor(() => received.pings === 1);
    await waitForLastByte(proxy);
    await clock.advanceAsync(60_000);
    expect(calls).not.toContain(HEALTH_CHECK);
    expect(proxy.counters).toMatchObject({ accepted: 1, open: 1 });
    expect(hangingCall.end).toBeUndefined();
    expect(replacements()).toEqual([]);
  });

  it('sends one health check on a suspected connection, and no PING if the server responds to the health check', async () => {
    const { proxy, calls, received } = await startServer();
    const { clock, callServer, timeOut } = await setUp([proxy]);
    await callServer();
    await timeOut(3, SILENT);
    await clock.advanceAsync(VERDICT_MS - 5_000);
    await waitFor(() => calls.includes(HEALTH_CHECK));
    await waitForLastByte(proxy);
    await clock.advanceAsync(20_000);
    expect(calls.filter((path) => path === HEALTH_CHECK)).toHaveLength(1);
    expect(received.pings).toBe(0);
  });
});

/** Waits until started calls are on the wire. */
async function passTurns(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits until no more bytes arrive from the server. */
async function waitForLastByte(proxy: FaultProxy): Promise<void> {
  let last = -1;
  let same = 0;
  await waitFor(() => {
    same = proxy.counters.bytesToClient === last ? same + 1 : 0;
    last = proxy.counters.bytesToClient;
    return same >= 5;
  });
}
