import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcClientEvent } from '../../call/call-event.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { SuspicionWatch, type ReplacementRequest, type WatchedConnection } from './suspicion-watch.js';

/** Clock of a process that the test can block, so that timers fire late. Calls `poll` before each deferred task. */
class BlockableClock extends VirtualClock {
  private busyMs = 0;
  /** Simulates the socket reads of an event-loop turn, after its timers. */
  poll: () => void = () => undefined;

  /** Blocks the process for `ms`. */
  block(ms: number): void {
    this.busyMs += ms;
  }
  override now(): number {
    return super.now() + this.busyMs;
  }
  override defer(task: () => void): void {
    super.defer(() => {
      this.poll();
      task();
    });
  }
}

class FakeConnection implements WatchedConnection {
  bytesRead = 100;
  destroyed = false;
  canBeProbed = true;
  /** Calls to the probe: 'check 5000', 'ping', 'end'. */
  readonly probed: string[] = [];

  constructor(readonly address: string) {}

  probe() {
    if (!this.canBeProbed) return undefined;
    return {
      check: (timeoutMs: number) => void this.probed.push(`check ${timeoutMs}`),
      ping: () => void this.probed.push('ping'),
      end: () => void this.probed.push('end'),
    };
  }
  destroy(): void {
    this.destroyed = true;
  }
}

class FakeReplacement {
  /** READY connections. */
  ready: FakeConnection[] = [];
  made = false;
  replacementReady = false;
  /** Requests that the watch made and that had an effect. */
  readonly did: string[] = [];
  taken: () => void = () => undefined;

  handle(request: ReplacementRequest): void {
    switch (request) {
      case 'create':
        if (!this.made) this.did.push('create');
        this.made = true;
        break;
      case 'close':
        if (this.made) this.did.push('close');
        this.made = false;
        this.replacementReady = false;
        break;
      case 'use':
        this.did.push('use');
        this.made = false;
        this.taken();
    }
  }
}

/** Creates a watch that probes after 7.5 s of silence: 5 s, plus half of the 5 s spread because `random` returns 0.5. */
function watchOn(clock: BlockableClock, owner: FakeReplacement, events: EventHub): SuspicionWatch {
  const request = (one: ReplacementRequest) => {
    owner.handle(one);
  };
  const probe = (connection: WatchedConnection) => (connection as FakeConnection).probe();
  return new SuspicionWatch(
    () => ({ ready: owner.ready, probe }),
    request,
    () => owner.replacementReady,
    clock,
    () => 0.5,
    events,
  );
}

function make() {
  const clock = new BlockableClock();
  const events: GrpcClientEvent[] = [];
  const hub = new EventHub({ client: 'orders' }, () => clock.epoch());
  hub.listen((event) => events.push(event), false);
  const owner = new FakeReplacement();
  const watch = watchOn(clock, owner, hub);
  owner.taken = () => {
    watch.replaced();
  };
  const connection = new FakeConnection('10.0.0.7:50051');
  const timeOut = (count = 3, on = connection) => {
    for (let i = 0; i < count; i++) watch.timedOut(on, 1_000);
  };
  return { clock, events, owner, watch, connection, timeOut };
}

/** Times out calls on the connection, and advances the clock to the end of a probe without a response. */
function makeDead(watched = make()) {
  watched.timeOut();
  watched.clock.advance(12_500);
  return watched;
}

describe('SuspicionWatch', () => {
  it('runs the suspicion timer from a call timeout until a byte arrives', () => {
    const { clock, connection, timeOut } = make();
    expect(clock.pending).toBe(0);
    timeOut(1);
    expect(clock.pending).toBe(1);
    connection.bytesRead += 1;
    clock.advance(250);
    expect(clock.pending).toBe(0);
    expect(connection.probed).toEqual([]);
  });

  it('stops the suspicion timer if no more calls time out', () => {
    const { clock, connection, timeOut } = make();
    timeOut(2);
    clock.advance(67_500);
    expect(clock.pending).toBe(0);
    expect(connection.probed).toEqual([]);
  });

  it('starts no suspicion timer if the connection cannot be probed', () => {
    const { clock, connection, timeOut } = make();
    connection.canBeProbed = false;
    timeOut(10);
    expect(clock.pending).toBe(0);
  });

  it('counts call timeouts separately for successive connections to one address', () => {
    const { clock, connection, timeOut } = make();
    timeOut(2);
    const next = new FakeConnection(connection.address);
    timeOut(2, next);
    clock.advance(20_000);
    expect([connection.probed, next.probed]).toEqual([[], []]);
  });
});

describe('silent connection', () => {
  it('probes a silent connection with a health check, then with a PING, and creates a replacement channel if no byte arrives', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    clock.advance(7_499);
    expect(connection.probed).toEqual([]);
    clock.advance(1);
    expect(connection.probed).toEqual(['check 5000']);
    clock.advance(2_500);
    expect(connection.probed).toEqual(['check 5000', 'ping']);
    clock.advance(2_499);
    expect(owner.did).toEqual([]);
    clock.advance(1);
    expect(connection.probed).toEqual(['check 5000', 'ping', 'end']);
    expect(owner.did).toEqual(['create']);
    expect(connection.destroyed).toBe(false);
  });

  it('ends the probe of a silent connection when a byte arrives', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    clock.advance(12_000);
    connection.bytesRead += 17;
    clock.advance(60_000);
    expect(connection.probed).toEqual(['check 5000', 'ping', 'end']);
    expect(owner.did).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('creates no replacement channel if a byte is read in the event-loop turn in which the probe times out', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    clock.advance(12_499);
    clock.poll = () => void (connection.bytesRead += 1);
    clock.advance(1);
    expect(owner.did).toEqual([]);
  });

  it('does not probe a connection if the event loop was blocked for 3 s', () => {
    const { clock, connection, timeOut } = make();
    timeOut();
    clock.advance(3_000);
    clock.block(3_000);
    clock.advance(20_000);
    expect(connection.probed).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('extends the probe of a silent connection if the event loop was blocked during the probe', () => {
    const { clock, owner, timeOut } = make();
    timeOut();
    clock.advance(11_000);
    clock.block(3_000);
    clock.advance(1_500);
    expect(owner.did).toEqual([]);
    clock.advance(4_000);
    expect(owner.did).toEqual(['create']);
  });

  it('ends the probe of a silent connection when the connection ends', () => {
    const { clock, owner, watch, connection, timeOut } = make();
    timeOut();
    clock.advance(8_000);
    watch.ended(connection.address);
    clock.advance(20_000);
    expect(connection.probed).toEqual(['check 5000', 'end']);
    expect(owner.did).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('ends the suspicion of a connection if it cannot be probed when the probe is due', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    connection.canBeProbed = false;
    clock.advance(60_000);
    expect(owner.did).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('dead connection', () => {
  it('closes a dead connection after the replacement channel has been READY for half a second and carries new calls', () => {
    const { clock, events, owner, connection, timeOut } = makeDead();
    clock.advance(60_000);
    expect(connection.destroyed).toBe(false);
    timeOut(2);
    owner.replacementReady = true;
    clock.advance(500);
    expect(connection.destroyed).toBe(false);
    const taken = owner.taken;
    owner.taken = () => {
      expect(connection.destroyed).toBe(false);
      taken();
    };
    clock.advance(250);
    expect(owner.did).toEqual(['create', 'use']);
    expect(connection.destroyed).toBe(true);
    expect(events).toEqual([
      {
        client: 'orders',
        at: clock.epoch(),
        type: 'connection-replaced',
        reason: 'suspicion',
        address: '10.0.0.7:50051',
        silentMs: 73_250,
        timeouts: 5,
        by: 'new-channel',
      },
    ]);
    expect(clock.pending).toBe(0);
  });

  it.each([
    ['while the replacement connects', false],
    ['when the replacement is READY', true],
  ])(
    'keeps a connection that was considered dead, and closes the replacement channel, if a byte arrives %s',
    (_, replacementReady) => {
      const { clock, events, owner, connection } = makeDead();
      clock.advance(1_000);
      owner.replacementReady = replacementReady;
      clock.advance(250);
      connection.bytesRead += 1;
      clock.advance(10_000);
      expect(owner.did).toEqual(['create', 'close']);
      expect(connection.destroyed).toBe(false);
      expect(events).toEqual([]);
      expect(clock.pending).toBe(0);
    },
  );

  it('closes the replacement channel if the dead connection has received a byte when another call on it times out', () => {
    const { owner, connection, timeOut } = makeDead();
    connection.bytesRead += 1;
    timeOut(1);
    expect(owner.did).toEqual(['create', 'close']);
  });

  it('closes the replacement channel when a call times out on a new connection to the address of the dead connection', () => {
    const { owner, connection, timeOut } = makeDead();
    timeOut(1, new FakeConnection(connection.address));
    expect(owner.did).toEqual(['create', 'close']);
  });

  it('closes the replacement channel when the dead connection ends', () => {
    const { clock, owner, watch, connection } = makeDead();
    watch.ended(connection.address);
    expect(owner.did).toEqual(['create', 'close']);
    clock.advance(1_000);
    expect(clock.pending).toBe(0);
  });

  it('closes a dead connection when its channel is replaced for another reason', () => {
    const { events, watch, connection } = makeDead();
    watch.replaced();
    expect(connection.destroyed).toBe(true);
    expect(events).toMatchObject([{ reason: 'suspicion', by: 'new-channel' }]);
  });

  it('closes a dead connection even if there is no event listener', () => {
    const clock = new BlockableClock();
    const owner = new FakeReplacement();
    const watch = watchOn(clock, owner, new EventHub({ client: 'orders' }, () => clock.epoch()));
    owner.taken = () => {
      watch.replaced();
    };
    const connection = new FakeConnection('a');
    for (let i = 0; i < 3; i++) watch.timedOut(connection, 1_000);
    owner.replacementReady = true;
    clock.advance(15_000);
    expect(connection.destroyed).toBe(true);
  });

  it('closes the dead connection, but not a suspected one, when the channel is replaced', () => {
    const { clock, owner, connection, timeOut } = make();
    const other = new FakeConnection('10.0.0.8:50051');
    timeOut();
    clock.advance(6_000);
    timeOut(3, other);
    clock.advance(6_500);
    owner.replacementReady = true;
    clock.advance(750);
    expect([connection.destroyed, other.destroyed]).toEqual([true, false]);
    expect(clock.pending).toBe(0);
  });

  it('ends the probe of a silent connection on forget()', () => {
    const { clock, watch, connection, timeOut } = make();
    timeOut();
    clock.advance(8_000);
    watch.forget();
    expect(connection.probed).toEqual(['check 5000', 'end']);
    expect(clock.pending).toBe(0);
  });

  it('closes the replacement channel and keeps the dead connection on forget()', () => {
    const { clock, owner, watch, connection } = makeDead();
    watch.forget();
    expect(owner.did).toEqual(['create', 'close']);
    expect(connection.destroyed).toBe(false);
    expect(clock.pending).toBe(0);
  });
});

describe('dead connection among several', () => {
  function makeSeveral() {
    const watched = make();
    const others = ['10.0.0.8:50051', '10.0.0.9:50051'].map((address) => new FakeConnection(address));
    watched.owner.ready = [watched.connection, ...others];
    return { ...watched, others: others as [FakeConnection, FakeConnection] };
  }

  it('closes a dead connection without creating a new channel if another connection received data during the probe', () => {
    const { clock, events, owner, connection, others, timeOut } = makeSeveral();
    timeOut();
    clock.advance(12_000);
    others[1].bytesRead += 1;
    clock.advance(500);
    expect(connection.destroyed).toBe(true);
    expect(owner.did).toEqual([]);
    expect(events).toMatchObject([{ reason: 'suspicion', address: '10.0.0.7:50051', by: 'other-connections' }]);
    expect(clock.pending).toBe(0);
  });

  it('creates a replacement channel for a dead connection if no other connection received data during the probe', () => {
    const { clock, owner, connection, others, timeOut } = makeSeveral();
    others[0].bytesRead += 1;
    timeOut();
    clock.advance(7_250);
    others[0].bytesRead += 1;
    clock.advance(5_250);
    expect(connection.destroyed).toBe(false);
    expect(owner.did).toEqual(['create']);
  });
});

describe('replacements', () => {
  it('replaces at most three dead connections in ten minutes, and further ones after that', () => {
    const { clock, owner, watch } = make();
    const replace = (number: number): boolean => {
      owner.replacementReady = true;
      const connection = new FakeConnection(`10.0.0.${number}:50051`);
      for (let i = 0; i < 3; i++) watch.timedOut(connection, 1_000);
      clock.advance(60_000);
      return connection.destroyed;
    };
    expect([1, 2, 3, 4].map(replace)).toEqual([true, true, true, false]);
    expect(owner.did).toEqual(['create', 'use', 'create', 'use', 'create', 'use']);
    expect(clock.pending).toBe(0);
    clock.advance(360_000);
    expect(replace(5)).toBe(true);
  });
});
