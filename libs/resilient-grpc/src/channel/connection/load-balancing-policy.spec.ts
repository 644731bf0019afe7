import { createServer, type Http2Server, type ServerHttp2Session, type ServerOptions } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { Channel, connectivityState, credentials, type ChannelOptions, type Metadata } from '@grpc/grpc-js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { attemptRequest, JSON_METHOD } from '../../../../../test/unit-support/attempt-request.js';
import { fakeChannel } from '../../../../../test/unit-support/fake-connection.js';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { waitFor } from '../../testing/wait-for.js';
import { systemClock } from '../../time/clock.js';
import { SocketAttempt } from '../wire/socket-attempt.js';
import { SocketSubchannels } from '../subchannel/socket-subchannel.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import type { SocketWire } from '../wire/socket-wire.js';
import { observeConnections, type PolicyDependencies, type PolicyOwner } from './load-balancing-policy.js';
import type { PolicyEvent } from './policy-event.js';

// These tests use the installed grpc-js. They must fail on a version without the private names that the policy needs.

const HEALTH_CHECK = '/grpc.health.v1.Health/Check';

/** Records the reports of the policy. */
class Recorder implements PolicyDependencies {
  readonly clock = systemClock;
  readonly maxConnectionsPerEndpoint = () => 1;
  readonly random = (): number => 0;
  /** States of the whole channel: 'CONNECTING', 'TRANSIENT_FAILURE' … */
  readonly states: string[] = [];
  /** Events as 'address FROM>TO', 'address released', 'unresolved', and 'limited'. */
  readonly connections: string[] = [];
  readonly errors: string[] = [];
  readonly channelErrors: (string | undefined)[] = [];
  readonly throttled: number[] = [];
  readonly sessions: SubchannelConnection[] = [];
  readonly heldOff: string[] = [];
  holdMs = 0;

  channel: Channel | undefined;
  readonly subchannels = new SocketSubchannels({
    clock: systemClock,
    random: () => 0,
    credentials: credentials.createInsecure(),
    channel: () => this.channel!,
    connectTimeoutMs: () => 20_000,
    holdOffMs: (address) => {
      if (this.holdMs > 0) this.heldOff.push(address);
      return this.holdMs;
    },
    keepaliveThrottled: (keepaliveTimeMs) => void this.throttled.push(keepaliveTimeMs),
  });

  readonly handle = (event: PolicyEvent): void => {
    switch (event.type) {
      case 'state':
        this.states.push(event.state);
        if (event.state === 'TRANSIENT_FAILURE') this.channelErrors.push(event.error);
        break;
      case 'connection':
        this.connections.push(`${event.address} ${event.from}>${event.to}`);
        if (event.error !== undefined) this.errors.push(event.error.message);
        if (event.connection !== undefined) this.sessions.push(event.connection);
        break;
      case 'unresolved':
        this.connections.push('unresolved');
        break;
      case 'addresses':
      case 'lookup-ended':
        break;
      case 'addresses-limited':
        this.connections.push('limited');
        break;
      case 'destroyed':
        this.states.push('IDLE');
        break;
      case 'released':
        this.connections.push(`${event.address} released`);
        break;
      case 'streams':
        break;
    }
  };

  count(change: string): number {
    return this.connections.filter((one) => one.endsWith(change)).length;
  }
}

interface Peer {
  readonly address: string;
  readonly sessions: Set<ServerHttp2Session>;
  /** Received calls, as 'path grpc-timeout'. */
  readonly calls: string[];
  pings: number;
  /** Listens again, on the same port. */
  listen(): Promise<void>;
  stop(): Promise<void>;
}

let isWatched = false;

/** Checks for leaks at the end of the test. Must run before anything is opened, because cleanups run in reverse order. */
function checkForLeaks(): void {
  if (isWatched) return;
  isWatched = true;
  const leaks = captureLeaks();
  onTestFinished(() => {
    isWatched = false;
    return leaks.settled();
  });
}

/** Starts a server that responds only to health checks, with UNIMPLEMENTED. */
async function startPeer(options: ServerOptions = {}): Promise<Peer> {
  checkForLeaks();
  const sessions = new Set<ServerHttp2Session>();
  const calls: string[] = [];
  let server: Http2Server | undefined;
  let port = 0;
  const listen = async (): Promise<void> => {
    const next = createServer(options);
    next.on('stream', (stream, headers) => {
      stream.on('error', () => undefined);
      calls.push(`${String(headers[':path'])} ${String(headers['grpc-timeout'])}`);
      if (headers[':path'] !== HEALTH_CHECK) return;
      stream.respond({ ':status': 200, 'content-type': 'application/grpc', 'grpc-status': '12' }, { endStream: true });
    });
    next.on('session', (session) => {
      sessions.add(session);
      session.on('error', () => undefined);
      session.on('ping', () => (peer.pings += 1));
      session.once('close', () => sessions.delete(session));
    });
    await new Promise<void>((resolve) => {
      next.listen(port, '127.0.0.1', resolve);
    });
    // Safe: the server listens on TCP.
    ({ port } = next.address() as AddressInfo);
    server = next;
  };
  const stop = async (): Promise<void> => {
    const stopping = server;
    server = undefined;
    for (const session of sessions) session.destroy();
    if (stopping !== undefined) await new Promise((resolve) => stopping.close(resolve));
  };
  const peer: Peer = {
    get address() {
      return `127.0.0.1:${port}`;
    },
    sessions,
    calls,
    pings: 0,
    listen,
    stop,
  };
  await listen();
  onTestFinished(stop);
  return peer;
}

interface Watched {
  readonly channel: Channel;
  readonly seen: Recorder;
  readonly policy: PolicyOwner;
}

/** Opens a grpc-js channel with the policy around `child`. By default, the reconnect backoff is longer than any test. */
function openWatched(target: string, child: object = { pick_first: {} }, options: ChannelOptions = {}): Watched {
  checkForLeaks();
  const seen = new Recorder();
  const policy = observeConnections([child as Readonly<Record<string, unknown>>], seen);
  const channel = new Channel(target, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
    'grpc.initial_reconnect_backoff_ms': 30_000,
    'grpc.enable_channelz': 0,
    'grpc.service_config_disable_resolution': 1,
    ...policy.channelOptions,
    'grpc.service_config': JSON.stringify({ loadBalancingConfig: policy.loadBalancingConfig }),
    ...options,
  });
  seen.channel = channel;
  onTestFinished(() => channel.close());
  return { channel, seen, policy };
}

/** Starts a call that receives no response. It waits for a connection until `pickAgain()`. */
function startCall({ channel, policy }: Watched, path: string) {
  const unsent: SocketAttempt[] = [];
  const fake = fakeChannel().channel;
  const callChannel = {
    ...fake,
    channel,
    pick: (metadata: Metadata) => policy.control?.picker?.pick({ metadata, extraPickInfo: {} }),
    addUnsent: (waiting: SocketAttempt) => void unsent.push(waiting),
  };
  const result = {
    ended: false,
    pickAgain: () => unsent.pop()?.pickAgain(),
    cancel: () => call.cancel('cancel', 1, ''),
  };
  const listener = {
    onHeaders: () => undefined,
    onMessage: () => undefined,
    onEnd: () => void (result.ended = true),
  };
  const request = attemptRequest({ method: { ...JSON_METHOD, path } });
  // Safe: an attempt uses only these members.
  const call = new SocketAttempt(callChannel as unknown as SocketWire, request, listener, systemClock, 0).begin();
  call.halfClose();
  onTestFinished(result.cancel);
  return result;
}

const state = (channel: Channel): string => connectivityState[channel.getConnectivityState(false)];
const passTurns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
};

describe('load-balancing policy', () => {
  it.each([0, 11])('reports a connection, which knows the reason for its end (GOAWAY %i)', async (code) => {
    const peer = await startPeer();
    const { channel, seen } = openWatched(peer.address);
    channel.getConnectivityState(true);
    await waitFor(() => seen.sessions.length === 1 && peer.sessions.size === 1);
    const [session] = peer.sessions;
    session!.goaway(code);
    await waitFor(() => seen.count('READY>IDLE') === 1);
    expect(seen.sessions[0]!.end).toBe(code === 0 ? 'GOAWAY NO_ERROR' : 'GOAWAY ENHANCE_YOUR_CALM');
    session!.destroy();
  });

  it('reports an attempt to connect and the cause of its failure', async () => {
    const peer = await startPeer();
    await peer.stop();
    const { channel, seen } = openWatched(peer.address);
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'TRANSIENT_FAILURE');
    expect(seen.connections).toEqual([
      `${peer.address} IDLE>CONNECTING`,
      `${peer.address} CONNECTING>TRANSIENT_FAILURE`,
    ]);
    expect(seen.errors.join()).toContain('ECONNREFUSED');
    expect(seen.channelErrors.at(-1)).toContain('ECONNREFUSED');
    expect(seen.states).toContain('CONNECTING');
  });

  it('reports each attempt to connect while the channel stays in TRANSIENT_FAILURE', async () => {
    const peer = await startPeer();
    await peer.stop();
    const { channel, seen } = openWatched(
      peer.address,
      { pick_first: {} },
      {
        'grpc.initial_reconnect_backoff_ms': 10,
        'grpc.max_reconnect_backoff_ms': 20,
      },
    );
    channel.getConnectivityState(true);
    await waitFor(() => seen.count('CONNECTING>TRANSIENT_FAILURE') >= 5);
    expect(seen.count('>CONNECTING')).toBeGreaterThanOrEqual(5);
    expect(state(channel)).toBe('TRANSIENT_FAILURE');
  });

  it('reports that the server rejected keepalive pings (too_many_pings)', async () => {
    const peer = await startPeer();
    const { channel, seen } = openWatched(peer.address, { pick_first: {} }, { 'grpc.keepalive_time_ms': 10_000 });
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY');
    for (const session of peer.sessions) {
      session.goaway(11, 0, Buffer.from('too_many_pings'));
      session.close();
    }
    await waitFor(() => seen.states.at(-1) === 'IDLE');
    expect(seen.throttled).toEqual([20_000]);
  });

  it('sets PolicyOwner.control to undefined while the channel is idle', async () => {
    const peer = await startPeer();
    const { channel, seen, policy } = openWatched(
      peer.address,
      { pick_first: {} },
      { 'grpc.client_idle_timeout_ms': 1_000 },
    );
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY');
    expect(policy.control).toBeDefined();
    await waitFor(() => seen.states.at(-1) === 'IDLE');
    expect(policy.control).toBeUndefined();
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY');
    expect(policy.control).toBeDefined();
  });
});

describe('endBackoff()', () => {
  it('starts the next attempt to connect immediately on each endBackoff()', async () => {
    const peer = await startPeer();
    await peer.stop();
    const { channel, seen, policy } = openWatched(peer.address);
    channel.getConnectivityState(true);
    const failed = (times: number) => waitFor(() => seen.count('CONNECTING>TRANSIENT_FAILURE') === times);
    for (let attempts = 1; attempts <= 5; attempts++) {
      await failed(attempts);
      policy.control?.connections.endBackoff();
    }
    await failed(6);
    await peer.listen();
    policy.control?.connections.endBackoff();
    await waitFor(() => seen.states.at(-1) === 'READY');
  });
});

describe('backoffEndsAt()', () => {
  it('returns the end of the backoff from backoffEndsAt(), or undefined without a backoff', async () => {
    const peer = await startPeer();
    await peer.stop();
    const { channel, seen, policy } = openWatched(peer.address);
    const beganAt = Date.now();
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'TRANSIENT_FAILURE');
    const endsAt = policy.control?.connections.backoffEndsAt() ?? NaN;
    // The backoff is measured from the start of the attempt, which is after `beganAt` and before now, so both bounds hold even on slow
    // machines.
    expect(endsAt - beganAt).toBeGreaterThan(30_000 * 0.8 - 10);
    expect(endsAt - Date.now()).toBeLessThan(30_000 * 1.2 + 10);
    await peer.listen();
    policy.control?.connections.endBackoff();
    await waitFor(() => seen.states.at(-1) === 'READY');
    expect(policy.control?.connections.backoffEndsAt()).toBeUndefined();
  });
});

describe('probe', () => {
  it('sends a health check with its timeout, or a PING, on the probed connection only', async () => {
    const [a, b] = [await startPeer(), await startPeer()];
    const { channel, seen, policy } = openWatched(`ipv4:${a.address},${b.address}`, { round_robin: {} });
    channel.getConnectivityState(true);
    await waitFor(() => seen.count('CONNECTING>READY') === 2);
    for (let i = 0; i < 3; i++) policy.control?.connections.at(b.address)?.probe()?.check(5_000);
    await waitFor(() => b.calls.length === 3);
    expect(b.calls[0]).toBe(`${HEALTH_CHECK} 5000m`);
    expect(a.calls).toEqual([]);
    policy.control?.connections.at(a.address)?.probe()?.ping();
    await waitFor(() => a.pings === 1);
    expect(b.pings).toBe(0);
  });

  it('cancels the health check of a probe on end() and keeps the connection', async () => {
    const peer = await startPeer({ settings: { maxConcurrentStreams: 1 } });
    const watched = openWatched(peer.address);
    const { channel, seen, policy } = watched;
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY');
    // The only stream is in use, so further calls wait in the client.
    const first = startCall(watched, '/a/First');
    await waitFor(() => peer.calls.length === 1);
    const probe = policy.control?.connections.at(peer.address)?.probe();
    probe?.check(5_000);
    startCall(watched, '/a/Second');
    await passTurns();
    probe?.end();
    probe?.end();
    first.cancel();
    await waitFor(() => peer.calls.length === 2);
    expect(peer.calls[1]).toMatch(/^\/a\/Second/);
    expect(seen.states.at(-1)).toBe('READY');
  });

  it('does not throw or reject if a probe runs check() and ping() after the end of its connection', async () => {
    const peer = await startPeer();
    const { channel, seen, policy } = openWatched(peer.address);
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY');
    const probe = policy.control!.connections.at(peer.address)!.probe()!;
    for (const session of peer.sessions) session.destroy();
    await waitFor(() => seen.states.at(-1) === 'IDLE');
    // Vitest fails the run if a rejection is unhandled.
    probe.check(5_000);
    probe.ping();
    probe.end();
  });
});

describe('hold-off', () => {
  it('delays the next attempt to connect until the hold-off ends', async () => {
    const peer = await startPeer();
    const { channel, seen } = openWatched(peer.address);
    channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY');
    seen.holdMs = 300;
    for (const session of peer.sessions) session.destroy();
    await waitFor(() => seen.states.at(-1) === 'IDLE');
    channel.getConnectivityState(true);
    await waitFor(() => seen.heldOff.length === 1);
    await passTurns();
    expect(seen.heldOff).toEqual([peer.address]);
    expect(seen.count('IDLE>CONNECTING')).toBe(1);
    seen.holdMs = 0;
    seen.subchannels.endHoldOff(peer.address);
    await waitFor(() => seen.states.at(-1) === 'READY');
    expect(seen.count('IDLE>CONNECTING')).toBe(2);
  });
});

describe('enterIdle()', () => {
  it('closes the connections without calls after enterIdle(), keeps the running call, and connects again for the next call', async () => {
    const peers = [await startPeer(), await startPeer(), await startPeer()];
    const target = `ipv4:${peers.map(({ address }) => address).join(',')}`;
    const watched = openWatched(target, { round_robin: {} });
    const { channel, seen, policy } = watched;
    const calls = () => peers.reduce((sum, peer) => sum + peer.calls.length, 0);
    const sessions = () => peers.reduce((sum, peer) => sum + peer.sessions.size, 0);
    channel.getConnectivityState(true);
    await waitFor(() => seen.count('CONNECTING>READY') === 3);
    const call = startCall(watched, '/a.B/Watch');
    await waitFor(() => calls() === 1);
    policy.control?.enterIdle();
    expect(state(channel)).toBe('IDLE');
    await waitFor(() => sessions() === 1);
    policy.control?.enterIdle();
    await passTurns();
    expect(sessions()).toBe(1);
    expect(call.ended).toBe(false);
    const next = startCall(watched, '/a.B/Watch');
    await waitFor(() => state(channel) === 'READY');
    next.pickAgain();
    await waitFor(() => calls() === 2);
    expect(call.ended || next.ended).toBe(false);
  });
});

describe('connections of a channel', () => {
  it('does not connect if the channel is closed during name resolution', async () => {
    const peer = await startPeer();
    const closed = openWatched(peer.address);
    closed.channel.getConnectivityState(true);
    closed.seen.subchannels.isClosed = true;
    closed.channel.close();
    // If the closed channel connected, it would connect before this one.
    const next = openWatched(peer.address);
    next.channel.getConnectivityState(true);
    await waitFor(() => next.seen.states.at(-1) === 'READY');
    await passTurns();
    expect(peer.sessions.size).toBe(1);
  });
});

describe('external service config', () => {
  it.each([
    ['a made-up id', () => ({ nestjs_resilient_grpc: { id: '1', child: [{ pick_first: {} }] } }), false],
    ['no id', () => ({ nestjs_resilient_grpc: { child: [{ pick_first: {} }] } }), false],
    ['the id of another channel', ({ policy }: Watched) => policy.loadBalancingConfig[0]!, false],
    ['the id and the options of another channel', ({ policy }: Watched) => policy.loadBalancingConfig[0]!, true],
  ])('affects no other channel if it names the internal policy with %s', async (_what, configOf, hasOptions) => {
    const peer = await startPeer();
    const victim = openWatched(peer.address);
    victim.channel.getConnectivityState(true);
    await waitFor(() => victim.seen.states.at(-1) === 'READY');
    const { control } = victim.policy;
    const before = [...victim.seen.states];
    const hostile = new Channel(peer.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      'grpc.enable_channelz': 0,
      ...(hasOptions && victim.policy.channelOptions),
      'grpc.service_config': JSON.stringify({ loadBalancingConfig: [configOf(victim)] }),
    });
    onTestFinished(() => hostile.close());
    hostile.getConnectivityState(true);
    await passTurns();
    expect(state(hostile)).not.toBe('READY');
    hostile.close();
    await passTurns();
    expect(victim.policy.control).toBe(control);
    expect(victim.seen.states).toEqual(before);
    expect(peer.sessions.size).toBe(1);
  });

  it('does not expose the policy owner in the channel options that grpc-js traces', async () => {
    const peer = await startPeer();
    const { policy } = openWatched(peer.address);
    expect(JSON.stringify(policy.channelOptions)).toBe('{"grpc.internal.no_subchannel.nestjs_resilient_grpc":{}}');
  });
});

describe('second copy of this library on one grpc-js', () => {
  it('registers the load-balancing policy of a second copy of this library under another name, so that both copies work', async () => {
    const peer = await startPeer();
    const first = openWatched(peer.address);
    vi.resetModules();
    const copy = await import('./load-balancing-policy.js');
    expect(copy.observeConnections).not.toBe(observeConnections);
    const seen = new Recorder();
    const policy = copy.observeConnections([{ pick_first: {} }], seen);
    expect(Object.keys(policy.loadBalancingConfig[0]!)).not.toEqual(Object.keys(first.policy.loadBalancingConfig[0]!));
    const second = new Channel(peer.address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
      ...policy.channelOptions,
      'grpc.service_config': JSON.stringify({ loadBalancingConfig: policy.loadBalancingConfig }),
    });
    seen.channel = second;
    onTestFinished(() => second.close());
    for (const channel of [first.channel, second]) channel.getConnectivityState(true);
    await waitFor(() => seen.states.at(-1) === 'READY' && first.seen.states.at(-1) === 'READY');
    expect([first.policy.control, policy.control]).not.toContain(undefined);
  });
});
