import { describe, expect, it } from 'vitest';
import { EventHub } from '../../call/event-hub.js';
import type { GrpcClientEvent } from '../../call/call-event.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { SuspicionWatch, type SuspicionCallbacks, type WatchedConnection } from './suspicion-watch.js';

/** A clock whose process can be busy, so that timers come late, and which reads sockets between timers and deferred tasks. */
class BusyClock extends VirtualClock {
  private busyMs = 0;
  /** What sockets bring in each turn. */
  poll: () => void = () => undefined;

  /** Nothing runs for `ms`. */
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
  canBeAsked = true;
  others: FakeConnection[] = [];
  /** 'check 5000', 'ping', 'end' */
  readonly asked: string[] = [];

  constructor(readonly address: string) {}

  probe() {
    if (!this.canBeAsked) return undefined;
    return {
      check: (timeoutMs: number) => void this.asked.push(`check ${timeoutMs}`),
      ping: () => void this.asked.push('ping'),
      end: () => void this.asked.push('end'),
    };
  }
  destroy(): void {
    this.destroyed = true;
  }
}

class FakeCallbacks implements SuspicionCallbacks {
  made = false;
  replacementReady = false;
  /** 'make', 'drop', 'take' */
  readonly did: string[] = [];
  taken: () => void = () => undefined;

  makeReplacement(): void {
    if (!this.made) this.did.push('make');
    this.made = true;
  }
  dropReplacement(): void {
    if (this.made) this.did.push('drop');
    this.made = false;
    this.replacementReady = false;
  }
  useReplacement(): void {
    this.did.push('take');
    this.made = false;
    this.taken();
  }
}

/** A connection's part of the spread is 2.5 s: it is asked after 7.5 s of silence. */
function make() {
  const clock = new BusyClock();
  const events: GrpcClientEvent[] = [];
  const hub = new EventHub({ client: 'orders' }, () => clock.epoch());
  hub.listen((event) => events.push(event), false);
  const owner = new FakeCallbacks();
  const watch = new SuspicionWatch(owner, clock, () => 0.5, hub);
  owner.taken = () => {
    watch.replaced();
  };
  const connection = new FakeConnection('10.0.0.7:50051');
  const timeOut = (count = 3, on = connection) => {
    for (let i = 0; i < count; i++) watch.timedOut(on, 1_000);
  };
  return { clock, events, owner, watch, connection, timeOut };
}

/** Up to the verdict of a probe that nobody answers. */
function dead(scene = make()) {
  scene.timeOut();
  scene.clock.advance(12_500);
  return scene;
}

describe('the watch', () => {
  it('sleeps until a call times out, and again when a byte came', () => {
    const { clock, connection, timeOut } = make();
    expect(clock.pending).toBe(0);
    timeOut(1);
    expect(clock.pending).toBe(1);
    connection.bytesRead += 1;
    clock.advance(250);
    expect(clock.pending).toBe(0);
    expect(connection.asked).toEqual([]);
  });

  it('sleeps again when nobody calls any more', () => {
    const { clock, connection, timeOut } = make();
    timeOut(2);
    clock.advance(67_500);
    expect(clock.pending).toBe(0);
    expect(connection.asked).toEqual([]);
  });

  it('stays asleep where a connection cannot be asked', () => {
    const { clock, connection, timeOut } = make();
    connection.canBeAsked = false;
    timeOut(10);
    expect(clock.pending).toBe(0);
  });

  it('has connections at one address follow one another', () => {
    const { clock, connection, timeOut } = make();
    timeOut(2);
    const next = new FakeConnection(connection.address);
    timeOut(2, next);
    clock.advance(20_000);
    expect([connection.asked, next.asked]).toEqual([[], []]);
  });
});

describe('a silent connection', () => {
  it('is asked by a call, then by a PING, and another is made when neither brings a byte', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    clock.advance(7_499);
    expect(connection.asked).toEqual([]);
    clock.advance(1);
    expect(connection.asked).toEqual(['check 5000']);
    clock.advance(2_500);
    expect(connection.asked).toEqual(['check 5000', 'ping']);
    clock.advance(2_499);
    expect(owner.did).toEqual([]);
    clock.advance(1);
    expect(connection.asked).toEqual(['check 5000', 'ping', 'end']);
    expect(owner.did).toEqual(['make']);
    expect(connection.destroyed).toBe(false);
  });

  it('is alive with any byte, and the probe is taken back', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    clock.advance(12_000);
    connection.bytesRead += 17;
    clock.advance(60_000);
    expect(connection.asked).toEqual(['check 5000', 'ping', 'end']);
    expect(owner.did).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('is alive with a byte that is read in the very turn of the verdict, after the timers', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    clock.advance(12_499);
    clock.poll = () => void (connection.bytesRead += 1);
    clock.advance(1);
    expect(owner.did).toEqual([]);
  });

  it('is not asked when our own event loop was blocked for 3 s', () => {
    const { clock, connection, timeOut } = make();
    timeOut();
    clock.advance(3_000);
    clock.block(3_000);
    clock.advance(20_000);
    expect(connection.asked).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('is not given up by a probe during which it was, but by the time after that', () => {
    const { clock, owner, timeOut } = make();
    timeOut();
    clock.advance(11_000);
    clock.block(3_000);
    clock.advance(1_500);
    expect(owner.did).toEqual([]);
    clock.advance(4_000);
    expect(owner.did).toEqual(['make']);
  });

  it('that ends by itself is no longer anybody’s business', () => {
    const { clock, owner, watch, connection, timeOut } = make();
    timeOut();
    clock.advance(8_000);
    watch.ended(connection.address);
    clock.advance(20_000);
    expect(connection.asked).toEqual(['check 5000', 'end']);
    expect(owner.did).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('that can no longer be asked when its time has come is left alone', () => {
    const { clock, owner, connection, timeOut } = make();
    timeOut();
    connection.canBeAsked = false;
    clock.advance(60_000);
    expect(owner.did).toEqual([]);
    expect(clock.pending).toBe(0);
  });
});

describe('a dead connection', () => {
  it('ends once its successor is READY and has been for half a second, after that has taken over', () => {
    const { clock, events, owner, connection, timeOut } = dead();
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
    expect(owner.did).toEqual(['make', 'take']);
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
    ['while its successor is being made', false],
    ['when its successor is READY', true],
  ])('that is heard of %s lives, and the successor is dropped', (_, replacementReady) => {
    const { clock, events, owner, connection } = dead();
    clock.advance(1_000);
    owner.replacementReady = replacementReady;
    clock.advance(250);
    connection.bytesRead += 1;
    clock.advance(10_000);
    expect(owner.did).toEqual(['make', 'drop']);
    expect(connection.destroyed).toBe(false);
    expect(events).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  it('that is heard of by a call that times out lives too', () => {
    const { owner, connection, timeOut } = dead();
    connection.bytesRead += 1;
    timeOut(1);
    expect(owner.did).toEqual(['make', 'drop']);
  });

  it('that another at its address has followed needs no successor', () => {
    const { owner, connection, timeOut } = dead();
    timeOut(1, new FakeConnection(connection.address));
    expect(owner.did).toEqual(['make', 'drop']);
  });

  it('that ends by itself needs no successor', () => {
    const { clock, owner, watch, connection } = dead();
    watch.ended(connection.address);
    expect(owner.did).toEqual(['make', 'drop']);
    clock.advance(1_000);
    expect(clock.pending).toBe(0);
  });

  it('ends also when its channel is replaced for another reason', () => {
    const { events, watch, connection } = dead();
    watch.replaced();
    expect(connection.destroyed).toBe(true);
    expect(events).toMatchObject([{ reason: 'suspicion', by: 'new-channel' }]);
  });

  it('ends though nobody listens to events', () => {
    const clock = new BusyClock();
    const owner = new FakeCallbacks();
    const watch = new SuspicionWatch(owner, clock, () => 0.5, new EventHub({ client: 'orders' }, () => clock.epoch()));
    owner.taken = () => {
      watch.replaced();
    };
    const connection = new FakeConnection('a');
    for (let i = 0; i < 3; i++) watch.timedOut(connection, 1_000);
    owner.replacementReady = true;
    clock.advance(15_000);
    expect(connection.destroyed).toBe(true);
  });

  it('leaves those that are only suspected alone', () => {
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

  it('is let go, with its successor, when the channel is not READY any more or closed', () => {
    const { clock, owner, watch, connection } = dead();
    watch.forget();
    expect(owner.did).toEqual(['make', 'drop']);
    expect(connection.destroyed).toBe(false);
    expect(clock.pending).toBe(0);
  });
});

describe('a dead connection among several', () => {
  function several() {
    const scene = make();
    const others = ['10.0.0.8:50051', '10.0.0.9:50051'].map((address) => new FakeConnection(address));
    scene.connection.others = others;
    return { ...scene, others: others as [FakeConnection, FakeConnection] };
  }

  it('is ended where it is when another was heard of meanwhile', () => {
    const { clock, events, owner, connection, others, timeOut } = several();
    timeOut();
    clock.advance(12_000);
    others[1].bytesRead += 1;
    clock.advance(500);
    expect(connection.destroyed).toBe(true);
    expect(owner.did).toEqual([]);
    expect(events).toMatchObject([{ reason: 'suspicion', address: '10.0.0.7:50051', by: 'other-connections' }]);
    expect(clock.pending).toBe(0);
  });

  it('needs a new channel when none was: they may all be dead', () => {
    const { clock, owner, connection, others, timeOut } = several();
    others[0].bytesRead += 1;
    timeOut();
    clock.advance(7_250);
    others[0].bytesRead += 1;
    clock.advance(5_250);
    expect(connection.destroyed).toBe(false);
    expect(owner.did).toEqual(['make']);
  });
});

describe('replacements', () => {
  it('are three in ten minutes at most', () => {
    const { clock, owner, watch } = make();
    const destroyed = [1, 2, 3, 4].map((number) => {
      owner.replacementReady = true;
      const connection = new FakeConnection(`10.0.0.${number}:50051`);
      for (let i = 0; i < 3; i++) watch.timedOut(connection, 1_000);
      clock.advance(60_000);
      return connection.destroyed;
    });
    expect(destroyed).toEqual([true, true, true, false]);
    expect(owner.did).toEqual(['make', 'take', 'make', 'take', 'make', 'take']);
    expect(clock.pending).toBe(0);
  });
});
