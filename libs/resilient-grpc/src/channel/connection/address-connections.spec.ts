import { createServer, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { GrpcClientEvent } from '../../call/call-event.js';
import type { Waiter } from '../../call/call-transport.js';
import { EventHub } from '../../call/event-hub.js';
import type { MethodDescriptor } from '../../call/method.js';
import { FaultProxy } from '../../testing/fault-proxy/fault-proxy.js';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { attemptRequest } from '../../../../../test/unit-support/attempt-request.js';
import { channelSettings } from '../../../../../test/unit-support/channel-settings.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { waitFor } from '../../testing/wait-for.js';
import type { ChannelSettings } from '../channel-settings.js';
import { ManagedChannel } from '../managed-channel.js';
import { FURTHER_IDLE_MS } from './address-connections.js';

// The tests use real connections and virtual time.

beforeEach(() => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
});

const METHOD: MethodDescriptor = {
  path: '/testing.v1.Echo/Feed',
  service: 'testing.v1.Echo',
  method: 'Feed',
  kind: 'server-stream',
  requestStream: false,
  responseStream: true,
  declaredIdempotent: false,
  requestSerialize: (message) => message as Buffer,
  responseDeserialize: (bytes) => bytes,
};

interface Peer {
  readonly address: string;
  readonly sessions: ServerHttp2Session[];
  readonly streams: ServerHttp2Stream[];
  /** Maximum number of connections that the server accepts in total. It closes later connections immediately. */
  accepts: number;
}

/** Starts a server that keeps each stream open. */
async function startPeer(maxConcurrentStreams: number): Promise<Peer> {
  const peer = { address: '', sessions: [] as ServerHttp2Session[], streams: [] as ServerHttp2Stream[], accepts: 100 };
  const server = createServer({ settings: { maxConcurrentStreams } });
  server.on('session', (session) => {
    session.on('error', () => undefined);
    if (peer.sessions.length >= peer.accepts) session.destroy();
    else peer.sessions.push(session);
  });
  server.on('stream', (stream) => {
    stream.on('error', () => undefined);
    peer.streams.push(stream);
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  onTestFinished(async () => {
    for (const session of peer.sessions) session.destroy();
    await new Promise((resolve) => server.close(resolve));
  });
  // Safe: the server listens on TCP.
  peer.address = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return peer;
}

interface Feed {
  readonly number: number;
  state: 'waiting' | 'started' | 'open' | 'ended';
  cancel(): void;
}

async function open(peer: Peer, settings: Partial<ChannelSettings> = {}, target = peer.address) {
  const clock = new VirtualClock();
  const events: GrpcClientEvent[] = [];
  const hub = new EventHub({ client: 'echo' }, () => clock.epoch());
  hub.listen((event) => events.push(event), false);
  const { settings: all } = channelSettings({
    target,
    maxWaitingCalls: 1_000,
    maxConnectionsPerEndpoint: 3,
    channelOptions: {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
      'grpc.service_config_disable_resolution': 1,
      'grpc.client_idle_timeout_ms': 1_800_000,
    },
    ...settings,
  });
  const channel = new ManagedChannel(all, { clock, random: () => 0.5, events: hub, changed: () => undefined });
  onTestFinished(() => {
    channel.close();
  });
  let feeds = 0;
  const begin = (feed: Feed): void => {
    feed.state = 'started';
    const attempt = channel.start(attemptRequest({ method: METHOD }), {
      onHeaders: () => (feed.state = 'open'),
      onMessage: () => undefined,
      onEnd: () => (feed.state = 'ended'),
    });
    attempt.startRead();
    attempt.send(Buffer.alloc(0));
    attempt.halfClose();
    feed.cancel = () => {
      attempt.cancel('cancel', 1, 'Cancelled');
    };
    onTestFinished(() => {
      attempt.abandon();
    });
  };
  const create = (): Feed => ({ number: (feeds += 1), state: 'waiting', cancel: () => undefined });
  /** Starts a feed even if no stream is free, like a call of grpc-js's own client. */
  const startAnyway = (): void => {
    begin(create());
  };
  /** Starts a feed in the same way as a call: immediately, or from the queue of the channel. */
  const start = (): Feed => {
    const feed = create();
    if (channel.ready) {
      begin(feed);
      return feed;
    }
    const waiter: Waiter = {
      waitForReady: undefined,
      deadline: Infinity,
      waitingSince: clock.now(),
      bytes: 0,
      rateLimited: false,
      expectsPromptResponse: false,
      path: '/orders.v1.Orders/Get',
      // A call's gate checks the channel in the same way.
      release: () => {
        if (channel.ready) begin(feed);
        else channel.wait(waiter);
      },
      refuse: () => (feed.state = 'ended'),
    };
    channel.wait(waiter);
    return feed;
  };
  const startAll = (count: number): Feed[] => Array.from({ length: count }, start);
  /** Runs due timers until `condition` returns true. */
  const reach = (condition: () => boolean): Promise<unknown> =>
    waitFor(() => {
      clock.advance(0);
      return condition();
    });
  const states = (all: readonly Feed[]): string => all.map(({ state }) => state).join(' ');
  await reach(() => {
    if (channel.connectivity.state === 'IDLE') channel.current.channel.getConnectivityState(true);
    return channel.isConnected;
  });
  await reach(() => channel.current.streamCapacity !== undefined);
  return { channel, clock, events, start, startAnyway, startAll, reach, states };
}

const count = (feeds: readonly Feed[], state: Feed['state']): number =>
  feeds.filter((feed) => feed.state === state).length;

describe('further connections', () => {
  it('opens further connections to an address one at a time if calls start while no stream is free', async () => {
    const peer = await startPeer(1);
    const { channel, start, startAnyway, reach } = await open(peer, { maxConnectionsPerEndpoint: 4 });
    const first = start();
    await reach(() => first.state === 'open');
    const numbers = () => channel.describe().connections.map(({ address }) => address.replace(peer.address, ''));
    for (let call = 0; call < 3; call += 1) startAnyway();
    await reach(() => numbers().length > 1);
    expect(numbers()).toEqual(['', '#2']);
    const second = start();
    await reach(() => second.state === 'open');
    startAnyway();
    await reach(() => numbers().length > 2);
    expect(numbers()).toEqual(['', '#2', '#3']);
  });

  it('closes further connections to an address after one to two idle periods, but not while a call uses them', async () => {
    const peer = await startPeer(1);
    const { channel, clock, startAll, reach } = await open(peer);
    const feeds = startAll(3);
    await reach(() => count(feeds, 'open') === 3);
    clock.advance(3 * FURTHER_IDLE_MS);
    await reach(() => true);
    expect(channel.openConnections).toBe(3);
    feeds[1]!.cancel();
    await reach(() => feeds[1]!.state === 'ended');
    clock.advance(2 * FURTHER_IDLE_MS);
    await reach(() => channel.openConnections === 2);
    expect(peer.sessions.map(({ closed, destroyed }) => closed || destroyed)).toEqual([false, true, false]);
    expect([feeds[0]!.state, feeds[2]!.state]).toEqual(['open', 'open']);
    const [next] = startAll(1);
    await reach(() => next!.state === 'open');
    expect(peer.sessions).toHaveLength(4);
  });

  it('starts no outage if a further connection cannot be opened, and starts a waiting call on the next free stream', async () => {
    const peer = await startPeer(1);
    peer.accepts = 1;
    const { channel, clock, startAll, reach, events } = await open(peer);
    const feeds = startAll(2);
    await reach(() => events.some((event) => event.type === 'connection' && event.change !== 'connected'));
    clock.advance(60_000);
    expect(channel.connectivity).toMatchObject({ state: 'READY' });
    expect(channel.connectivity.outage).toBeUndefined();
    feeds[0]!.cancel();
    await reach(() => feeds[1]!.state === 'open');
  });

  it('keeps further connections and their calls if the first connection receives GOAWAY', async () => {
    const peer = await startPeer(1);
    const { channel, startAll, reach } = await open(peer);
    const feeds = startAll(2);
    await reach(() => count(feeds, 'open') === 2);
    peer.sessions[0]!.goaway(0);
    await reach(() => peer.sessions.length === 3);
    const [next] = startAll(1);
    await reach(() => next!.state === 'open');
    expect(count(feeds, 'open')).toBe(2);
    expect(channel.history.at(-1)?.to).toBe('READY');
  });

  it.each(['pick_first', 'round_robin'])(
    'runs new calls on further connections until those connections end, if the first connection cannot be reopened (%s)',
    async (policy) => {
      const peer = await startPeer(2);
      const settings = { loadBalancing: [{ [policy]: {} }], maxConnectionsPerEndpoint: 2 };
      const { channel, clock, startAll, reach } = await open(peer, settings);
      const feeds = startAll(3);
      await reach(() => count(feeds, 'open') === 3);
      peer.accepts = 2;
      const changes = channel.history.length;
      peer.sessions[0]!.goaway(0);
      await reach(() => channel.describe().connections[0]?.state !== 'READY');
      const [next, waiting] = startAll(2);
      await reach(() => next!.state === 'open');
      // The further connection stays open after idle periods, because no call could start without it.
      feeds[2]!.cancel();
      next!.cancel();
      await reach(() => waiting!.state === 'open');
      waiting!.cancel();
      await reach(() => waiting!.state === 'ended');
      clock.advance(3 * FURTHER_IDLE_MS);
      const [late] = startAll(1);
      await reach(() => late!.state === 'open');
      expect(channel.history.length).toBe(changes);
      expect(channel.isConnected).toBe(true);
      peer.sessions[1]!.destroy();
      await reach(() => !channel.isConnected);
      peer.accepts = 100;
      const [last] = startAll(1);
      await reach(() => {
        clock.advance(1_000);
        return last!.state === 'open';
      });
    },
  );

  it('reopens lost further connections while calls wait', async () => {
    const peer = await startPeer(1);
    const { channel, startAll, reach } = await open(peer, { maxConnectionsPerEndpoint: 2 });
    const feeds = startAll(3);
    await reach(() => count(feeds, 'open') === 2);
    peer.sessions[1]!.destroy();
    await reach(() => feeds[1]!.state === 'ended' && feeds[2]!.state === 'open');
    expect(feeds[0]!.state).toBe('open');
    expect(channel.connectivity.state).toBe('READY');
    expect(peer.sessions).toHaveLength(3);
  });

  it('closes further connections to an address when the channel is closed', async () => {
    const peer = await startPeer(1);
    const { channel, startAll, reach } = await open(peer);
    const feeds = startAll(3);
    await reach(() => count(feeds, 'open') === 3);
    for (const feed of feeds) feed.cancel();
    channel.close();
    await reach(() => peer.sessions.every(({ closed, destroyed }) => closed || destroyed));
  });
});

describe('stream limit of a connection', () => {
  it('starts waiting calls if the server raises the stream limit, and starts no call if it lowers the limit to 0', async () => {
    const peer = await startPeer(1);
    const { channel, startAll, reach } = await open(peer, { maxConnectionsPerEndpoint: 1 });
    const feeds = startAll(5);
    await reach(() => count(feeds, 'open') === 1);
    peer.sessions[0]!.settings({ maxConcurrentStreams: 3 });
    await reach(() => count(feeds, 'open') === 3);
    peer.sessions[0]!.settings({ maxConcurrentStreams: 0 });
    await reach(() => channel.describe().connections[0]?.streams?.limit === 0);
    for (const feed of feeds.slice(0, 3)) feed.cancel();
    await reach(() => count(feeds, 'ended') === 3);
    expect(count(feeds, 'waiting')).toBe(2);
    peer.sessions[0]!.settings({ maxConcurrentStreams: 4_294_967_295 });
    await reach(() => count(feeds, 'open') === 2);
    expect(channel.describe().connections[0]?.streams).toEqual({ open: 2 });
  });
});

describe('a connection whose streams are all in use', () => {
  it('closes a connection without a free stream if calls time out while they wait for a stream, and no byte arrives during a probe', async () => {
    const peer = await startPeer(1);
    const proxy = await FaultProxy.start(peer.address);
    onTestFinished(() => proxy.close());
    const { channel, clock, events, start, reach } = await open(peer, { maxConnectionsPerEndpoint: 1 }, proxy.url);
    const feed = start();
    await reach(() => feed.state === 'open');
    proxy.holdBytes();
    for (let call = 0; call < 3; call += 1) {
      const waiter: Waiter = {
        waitForReady: undefined,
        deadline: clock.epoch() + 1_000,
        waitingSince: clock.now(),
        bytes: 0,
        rateLimited: false,
        expectsPromptResponse: true,
        path: '/orders.v1.Orders/Get',
        release: () => undefined,
        refuse: () => undefined,
      };
      channel.wait(waiter);
      await clock.advanceAsync(1_000);
      channel.dequeue(waiter);
    }
    for (let second = 0; second < 60 && feed.state === 'open'; second += 1) {
      await clock.advanceAsync(500);
      await new Promise(setImmediate);
    }
    await reach(() => feed.state === 'ended');
    expect(events.filter(({ type }) => type === 'connection-replaced')).toMatchObject([{ reason: 'suspicion' }]);
  });
});
