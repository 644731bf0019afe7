import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { ConnectionEnd } from '../../call/call-event.js';
import type { SubchannelConnection } from '../subchannel/subchannel-connection.js';
import { AddressHistories, type EndedConnection } from './address-histories.js';

const ADDRESS = '10.0.0.7:50051';

function make(clock = new VirtualClock()) {
  const closed: number[] = [];
  const judged: EndedConnection[] = [];
  const ended: EndedConnection[] = [];
  const histories = new AddressHistories(
    clock,
    () => 0.5,
    (event) => {
      if (event.type === 'closed') closed.push(event.closed.livedMs);
      else (event.type === 'ended' ? ended : judged).push(event.ended);
    },
  );
  return { clock, closed, judged, ended, histories };
}

/** A connection that a test closes. */
class FakeConnection {
  readonly close: () => void;
  private closed: () => void = () => undefined;

  constructor(
    readonly end: ConnectionEnd = 'unknown',
    readonly readyAt = 0,
  ) {
    this.close = () => this.closed();
  }

  whenClosed(listener: () => void): void {
    this.closed = listener;
  }

  /** Safe: the histories use only these members. */
  get real(): SubchannelConnection {
    return this as unknown as SubchannelConnection;
  }
}

describe('histories of 1,000 addresses', () => {
  const addresses = Array.from({ length: 1_000 }, (_, index) => `10.0.0.7:${String(index + 1)}`);

  it('keeps the histories of all 1,000 addresses if they are in use', () => {
    const { histories } = make();
    for (const address of addresses) histories.entered(address, 'CONNECTING');
    for (const address of addresses) {
      histories.connected(address, new FakeConnection().real);
      histories.entered(address, 'READY');
    }
    expect(histories.known).toHaveLength(1_000);
    expect(histories.ready).toHaveLength(1_000);
  });

  it('keeps only the histories of the latest 256 of 1,000 addresses if none is in use', () => {
    const { histories } = make();
    for (const address of addresses) {
      histories.entered(address, 'CONNECTING');
      histories.entered(address, 'IDLE');
    }
    expect(histories.known.map(({ address }) => address)).toEqual(addresses.slice(-256));
  });
});

describe('failed attempts to connect', () => {
  function makeFailing() {
    const made = make();
    made.histories.entered(ADDRESS, 'CONNECTING');
    made.histories.entered(ADDRESS, 'TRANSIENT_FAILURE');
    made.clock.advance(40_000);
    return made;
  }

  it('measures the time since the first failed attempt to connect, even while the next attempt is running or delayed', () => {
    const { clock, histories } = makeFailing();
    for (const state of ['IDLE', 'CONNECTING', 'TRANSIENT_FAILURE'] as const) {
      histories.entered(ADDRESS, state);
      expect(histories.failingMs(ADDRESS)).toBe(40_000);
    }
    clock.advance(5_000);
    expect(histories.failingMs(ADDRESS)).toBe(45_000);
    expect(histories.failingMs('10.0.0.8:50051')).toBeUndefined();
  });

  it.each<[event: string, (histories: AddressHistories) => void]>([
    ['is READY again', (histories) => histories.entered(ADDRESS, 'READY')],
    ['is no longer used', (histories) => histories.unused(ADDRESS)],
  ])('forgets failed attempts to connect to an address that %s', (_event, happen) => {
    const { clock, histories } = makeFailing();
    happen(histories);
    expect(histories.failingMs(ADDRESS)).toBeUndefined();
    clock.advance(3_600_000);
    histories.entered(ADDRESS, 'TRANSIENT_FAILURE');
    expect(histories.failingMs(ADDRESS)).toBe(0);
  });

  it('counts consecutive connect timeouts per address, until a different failure or READY', () => {
    const { histories } = make();
    const fail = (timedOut: boolean) => {
      histories.connectFailed(ADDRESS, timedOut);
      return histories.timeouts(ADDRESS);
    };
    expect([fail(true), fail(true), histories.timeouts('10.0.0.8:50051')]).toEqual([1, 2, 0]);
    expect([fail(false), fail(true)]).toEqual([0, 1]);
    histories.entered('10.0.0.8:50051', 'READY');
    expect(histories.timeouts(ADDRESS)).toBe(1);
    histories.entered(ADDRESS, 'READY');
    expect(histories.timeouts(ADDRESS)).toBe(0);
  });

  it('forgets timed-out attempts to connect to an address that is no longer used', () => {
    const { histories } = make();
    histories.connectFailed(ADDRESS, true);
    histories.unused(ADDRESS);
    expect(histories.timeouts(ADDRESS)).toBe(0);
  });

  it('ignores failed attempts to connect while a further connection to the same address is READY', () => {
    const { histories } = makeFailing();
    histories.connected(`${ADDRESS}1#2`, new FakeConnection().real);
    expect(histories.failingMs(ADDRESS)).toBe(40_000);
    histories.connected(`${ADDRESS}#2`, new FakeConnection().real);
    expect(histories.failingMs(ADDRESS)).toBeUndefined();
    histories.disconnected(`${ADDRESS}#2`);
    expect(histories.failingMs(ADDRESS)).toBe(40_000);
  });
});

describe('released connection', () => {
  it('reports a released connection as closed when its socket closes', () => {
    const { clock, closed, histories } = make();
    const connection = new FakeConnection();
    histories.connected(ADDRESS, connection.real);
    clock.advance(500);
    histories.release(ADDRESS, false);
    expect(closed).toEqual([]);
    connection.close();
    expect(closed).toEqual([500]);
  });

  it('reports why a released connection was lost, and that the client did not close it', () => {
    const { closed, ended, histories } = make();
    const connection = new FakeConnection('connection reset');
    histories.connected(ADDRESS, connection.real);
    histories.release(ADDRESS, false);
    connection.close();
    expect(ended).toMatchObject([{ address: ADDRESS, reason: 'connection reset' }]);
    expect(closed).toEqual([]);
  });

  it('does not report a connection as closed by the client if it ends while in use', () => {
    const { closed, histories } = make();
    const connection = new FakeConnection();
    histories.connected(ADDRESS, connection.real);
    connection.close();
    expect(histories.disconnected(ADDRESS)).toMatchObject({ reason: 'unknown', othersReady: false });
    expect(closed).toEqual([]);
  });
});

describe('connection with a GOAWAY before the first response', () => {
  function goAway(made: ReturnType<typeof make>, end: ConnectionEnd = 'GOAWAY NO_ERROR') {
    const { clock, histories } = made;
    const readyAt = clock.now();
    const connection = new FakeConnection(end, readyAt);
    histories.connected(ADDRESS, connection.real);
    clock.advance(100);
    return { ended: histories.disconnected(ADDRESS), connection, readyAt };
  }

  /** Creates histories with one GOAWAY before the first response, because the first GOAWAY sets no hold-off. */
  function makeAfterFirstGoaway() {
    const made = make();
    goAway(made);
    return made;
  }

  it('holds off attempts to connect to an address while a connection to it is undecided', () => {
    const made = makeAfterFirstGoaway();
    expect(goAway(made).ended).toMatchObject({ closedImmediately: true, isUndecided: true });
    expect(made.histories).toMatchObject({ isUndecided: true });
    expect(made.histories.holdOffMs(ADDRESS)).toBeGreaterThan(0);
    expect(made.judged).toEqual([]);
  });

  it('ends the hold-off of an address when a call on the undecided connection receives a response', () => {
    const made = makeAfterFirstGoaway();
    const { readyAt } = goAway(made);
    made.histories.answeredTo(ADDRESS, readyAt);
    expect(made.histories.holdOffMs(ADDRESS)).toBeLessThanOrEqual(0);
    expect(made.judged).toMatchObject([{ answered: true, closedImmediately: false, livedMs: 100 }]);
    expect(made.histories).toMatchObject({ isUndecided: false });
  });

  it('keeps the hold-off of an address when a response arrives for a call that began before the undecided connection', () => {
    const made = makeAfterFirstGoaway();
    made.clock.advance(10);
    const { readyAt } = goAway(made);
    made.histories.answeredTo(ADDRESS, readyAt - 1);
    expect(made.histories.holdOffMs(ADDRESS)).toBeGreaterThan(0);
    expect(made.judged).toEqual([]);
  });

  it('counts an undecided connection as a failed attempt to connect if it closes without a response', () => {
    const made = makeAfterFirstGoaway();
    const { connection } = goAway(made);
    connection.close();
    expect(made.judged).toMatchObject([{ answered: false, closedImmediately: true }]);
    expect(made.histories.holdOffMs(ADDRESS)).toBeGreaterThan(0);
    expect(made.histories).toMatchObject({ isUndecided: false });
  });

  it('ends the hold-off of an address when a call on an earlier undecided connection receives a response', () => {
    const made = makeAfterFirstGoaway();
    const { readyAt } = goAway(made);
    made.clock.advance(2_000);
    goAway(made);
    made.clock.advance(1);
    made.histories.answeredTo(ADDRESS, readyAt);
    expect(made.histories.holdOffMs(ADDRESS)).toBeLessThanOrEqual(0);
    expect(made.judged).toHaveLength(1);
    expect(made.histories).toMatchObject({ isUndecided: true });
  });

  it('treats a GOAWAY with an error code as an immediate close of the connection', () => {
    const made = makeAfterFirstGoaway();
    expect(goAway(made, 'GOAWAY ENHANCE_YOUR_CALM').ended).toMatchObject({
      closedImmediately: true,
      isUndecided: false,
    });
  });

  it('sets no hold-off for an address after the first GOAWAY since the last response', () => {
    const made = make();
    const first = goAway(made);
    expect(first.ended).toMatchObject({ closedImmediately: false, isUndecided: true });
    expect(made.histories.holdOffMs(ADDRESS)).toBeLessThanOrEqual(0);
    first.connection.close();
    expect(made.judged).toEqual([]);
    expect(goAway(made).ended).toMatchObject({ closedImmediately: true });
    // The first GOAWAY counts as well, so the hold-off is as long as after two consecutive immediate closes.
    expect(made.histories.holdOffMs(ADDRESS)).toBe(1_600);
    made.histories.connected(ADDRESS, new FakeConnection('unknown', made.clock.now()).real);
    made.histories.answered();
    expect(goAway(made).ended).toMatchObject({ closedImmediately: false });
  });

  it('sets a hold-off for an address after a GOAWAY without an error if the previous connection to it closed immediately with an error', () => {
    const made = make();
    goAway(made, 'GOAWAY ENHANCE_YOUR_CALM');
    expect(goAway(made).ended).toMatchObject({ closedImmediately: true });
    expect(made.histories.holdOffMs(ADDRESS)).toBe(1_600);
  });
});
