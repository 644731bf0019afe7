import { describe, expect, it, onTestFinished } from 'vitest';
import type { ConnectivityState } from '../call/connectivity.js';
import { EventHub } from '../call/event-hub.js';
import { channelSettings } from '../../../../test/unit-support/channel-settings.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { connectFailure } from './connection/connect-failure.js';
import { ManagedChannel } from './managed-channel.js';
import type { SubchannelConnection } from './subchannel/subchannel-connection.js';
import type { Wire } from './wire/wire.js';

const AGE_MS = 60_000;

class FakeWire {
  state: ConnectivityState = 'IDLE';
  connects = 0;
  endedBackoffs = 0;
  closed = false;
  retired = false;
  readonly histories = { ready: [], failingMs: () => 60_000 };
  get ready(): boolean {
    return this.state === 'READY';
  }
  probe() {
    return { check: () => undefined, ping: () => undefined, end: () => undefined };
  }
  connect(): void {
    this.connects += 1;
  }
  endBackoff(): void {
    this.endedBackoffs += 1;
  }
  nextAttemptAt(): undefined {
    return undefined;
  }
  retire(): void {
    this.retired = true;
  }
  close(): void {
    this.closed = true;
  }
}

/** A connection that receives no more bytes. */
class DeadConnection {
  readonly address = '10.0.0.7:50051';
  readonly bytesRead = 100;
  destroy(): void {
    // The fake has no socket to close.
  }
}

/** Creates a channel on fake wires: `made[0]`, which enters `state`, and its replacements. */
function make(state: ConnectivityState = 'READY') {
  const clock = new VirtualClock();
  const made: FakeWire[] = [];
  class ReplaceableChannel extends ManagedChannel {
    protected override createWire(): Wire {
      made.push(new FakeWire());
      // Safe: the fake has all members that a replacement needs.
      return made.at(-1) as unknown as Wire;
    }
  }
  const events = new EventHub({ client: 'orders' }, () => clock.epoch());
  const promoted: string[] = [];
  events.listen((event) => event.type === 'connection-replaced' && promoted.push(event.reason), false);
  const reachability: string[] = [];
  events.listen(
    (event) => event.type === 'reachability' && reachability.push(`${event.change} ${event.address}`),
    false,
  );
  const { settings, rotate } = channelSettings({ target: 'orders:50051', maxConnectionAgeMs: AGE_MS });
  const channel = new ReplaceableChannel(settings, { clock, random: () => 0.5, events, changed: () => undefined });
  onTestFinished(() => {
    channel.close();
  });
  const enter = (index: number, next: ConnectivityState) => {
    made[index]!.state = next;
    channel.handle(made[index] as unknown as Wire, { type: 'state', state: next, error: undefined });
  };
  /** Reports a failed connection attempt. */
  const fail = (index: number, isFurther = false) => {
    const failure = connectFailure('refused', '10.0.0.7:50051', 'ECONNREFUSED');
    channel.handle(made[index] as unknown as Wire, {
      type: 'connect-failed',
      address: '10.0.0.7:50051',
      isFurther,
      failure,
    });
  };
  enter(0, state);
  const begin = {
    credentials: rotate,
    age: () => {
      clock.advance(AGE_MS);
    },
  };
  /** Reports timed-out calls on a dead connection, and advances the clock to the end of a probe without a response. */
  const suspect = () => {
    // Safe: a suspicion needs only these members.
    const connection = new DeadConnection() as unknown as SubchannelConnection;
    for (let i = 0; i < 3; i++) {
      channel.handle(channel.current, { type: 'call-timed-out', connection, waitedMs: 1_000 });
    }
    clock.advance(12_500);
  };
  /** Index of the channel that carries new calls. */
  const current = () => made.indexOf(channel.current as unknown as FakeWire);
  return { clock, made, promoted, reachability, channel, enter, fail, begin, suspect, current };
}

describe('channel replacement', () => {
  it('connects a pending replacement channel again when it becomes idle, in a later event-loop turn', () => {
    const { clock, made, promoted, enter, begin, current } = make();
    begin.credentials();
    enter(1, 'TRANSIENT_FAILURE');
    enter(1, 'IDLE');
    expect(made[1]?.connects).toBe(1);
    clock.advance(0);
    expect(made.map(({ connects }) => connects)).toEqual([0, 2]);
    enter(1, 'READY');
    expect([promoted, current()]).toEqual([['credentials'], 1]);
  });

  it.each(['READY', 'CONNECTING'] as const)(
    'connects an idle replacement channel only if it is still idle in the next event-loop turn (%s)',
    (state) => {
      const { clock, made, enter, begin } = make();
      begin.credentials();
      enter(1, 'IDLE');
      enter(1, state);
      clock.advance(0);
      expect(made[1]?.connects).toBe(1);
    },
  );

  it('ends the backoff of a replacement channel only once, when the current connection ends, and starts an outage if the resulting connection attempt fails', () => {
    const { made, promoted, channel, enter, fail, begin, current } = make();
    begin.credentials();
    fail(1);
    enter(1, 'TRANSIENT_FAILURE');
    expect([channel.connectivity.outage, made[1]?.endedBackoffs]).toEqual([undefined, 0]);
    enter(0, 'IDLE');
    expect([promoted, current(), made[1]?.endedBackoffs]).toEqual([['credentials'], 1, 1]);
    expect(channel.connectivity.outage).toBeUndefined();
    fail(1);
    enter(1, 'TRANSIENT_FAILURE');
    expect(channel.connectivity.outage?.connectAttempts).toBe(1);
    expect(made[1]?.endedBackoffs).toBe(1);
  });

  it('uses the addresses that a pending replacement channel resolved, and ignores later addresses of the previous channel', () => {
    const { made, channel, enter, begin } = make();
    const resolve = (index: number, ...addresses: string[]) => {
      channel.handle(made[index] as unknown as Wire, { type: 'addresses', addresses });
    };
    resolve(0, '10.0.0.7:50051');
    begin.age();
    resolve(1, '10.0.0.8:50051', '10.0.0.9:50051');
    enter(1, 'READY');
    expect(channel.addresses.count).toBe(2);
    // The previous channel may resolve the name again while its calls run.
    resolve(0, '10.0.0.7:50051');
    expect(channel.addresses.count).toBe(2);
  });

  it('reports an unreachable endpoint only for the channel that carries new calls, if that channel is READY and no outage ended in the last minute', () => {
    const { clock, made, reachability, channel, enter, fail, begin } = make('CONNECTING');
    const wire = made[0] as unknown as Wire;
    const address = '10.0.0.7:50051';
    channel.handle(wire, { type: 'addresses', addresses: [address, '10.0.0.8:50051'] });
    fail(0);
    enter(0, 'TRANSIENT_FAILURE');
    enter(0, 'READY');
    clock.advance(1_000);
    fail(0);
    // An endpoint may still be reconnecting in the minute after the outage.
    clock.advance(60_000);
    begin.credentials();
    fail(made.length - 1);
    fail(0, true);
    expect(reachability).toEqual([]);
    fail(0);
    channel.handle(wire, { type: 'connected', address });
    expect(reachability).toEqual([`lost ${address}`, `restored ${address}`]);
  });

  it('closes a pending replacement channel when another replacement begins', () => {
    const { made, promoted, enter, begin, current } = make();
    begin.age();
    begin.credentials();
    expect(made.map(({ closed }) => closed)).toEqual([false, true, false]);
    enter(1, 'READY');
    expect([promoted, current()]).toEqual([[], 0]);
    enter(2, 'READY');
    expect([promoted, current()]).toEqual([['credentials'], 2]);
  });

  it('closes a pending replacement channel when the managed channel is closed', () => {
    const { made, promoted, channel, enter, begin, current } = make();
    begin.age();
    channel.close();
    expect(made[1]?.closed).toBe(true);
    enter(1, 'READY');
    expect([promoted, current()]).toEqual([[], 0]);
  });
});

describe('change of load balancing', () => {
  const PICK_FIRST = { loadBalancing: [{ pick_first: {} }], maxConnectionsPerEndpoint: 1 };
  const ROUND_ROBIN = { ...PICK_FIRST, loadBalancing: [{ round_robin: {} }], dnsRefreshMs: 5_000 };

  it('does not replace the channel if load balancing is unchanged', () => {
    const { clock, made, channel } = make();
    channel.balance({ ...PICK_FIRST, loadBalancing: [{ pick_first: {} }] });
    channel.balance({ ...PICK_FIRST, maxConnectionsPerEndpoint: 4 });
    channel.balance(ROUND_ROBIN);
    channel.balance({ ...ROUND_ROBIN });
    clock.advance(30_000);
    expect(made).toHaveLength(2);
  });

  it('replaces the channel at most once every 10 s, with the latest load balancing', () => {
    const { clock, made, channel, enter } = make();
    for (let change = 0; change < 100; change++) channel.balance(change % 2 === 0 ? ROUND_ROBIN : PICK_FIRST);
    expect(made).toHaveLength(2);
    enter(1, 'READY');
    clock.advance(9_999);
    expect(made).toHaveLength(2);
    clock.advance(1);
    expect(made).toHaveLength(3);
    enter(2, 'READY');
    channel.balance(ROUND_ROBIN);
    channel.balance(PICK_FIRST);
    clock.advance(10_000);
    expect(made).toHaveLength(3);
  });

  it('ignores a change of load balancing after the managed channel is closed', () => {
    const { clock, made, channel } = make();
    channel.close();
    channel.balance(ROUND_ROBIN);
    expect([made.length, clock.pending]).toEqual([1, 0]);
  });
});

describe('replacement of a dead connection', () => {
  it('uses the READY replacement channel for a dead connection only when the suspicion watch requests it', () => {
    const { clock, enter, suspect, current } = make();
    suspect();
    clock.advance(1_000);
    expect(current()).toBe(0);
    enter(1, 'READY');
    expect(current()).toBe(0);
    clock.advance(1_000);
    expect(current()).toBe(1);
  });

  it('creates only one replacement channel for a dead connection, and calls its connect() again at the next check', () => {
    const { clock, made, suspect } = make();
    suspect();
    clock.advance(250);
    expect(made).toHaveLength(2);
    expect(made[1]?.connects).toBe(2);
  });

  it('creates no replacement channel for a dead connection while another replacement is pending, and keeps the pending replacement when the connection ends', () => {
    const { made, promoted, channel, enter, begin, suspect, current } = make();
    begin.credentials();
    suspect();
    expect(made).toHaveLength(2);
    channel.handle(channel.current, { type: 'released', address: '10.0.0.7:50051' });
    expect(made[1]?.closed).toBe(false);
    enter(1, 'READY');
    expect([promoted, current()]).toEqual([['credentials'], 1]);
  });

  it('closes the replacement channel when the dead connection ends', () => {
    const { made, channel, begin, suspect } = make();
    suspect();
    channel.handle(channel.current, { type: 'released', address: '10.0.0.7:50051' });
    expect(made[1]?.closed).toBe(true);
    begin.credentials();
    expect(made.map(({ closed }) => closed)).toEqual([false, true, false]);
  });
});
