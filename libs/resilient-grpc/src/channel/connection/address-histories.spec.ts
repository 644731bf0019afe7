import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import type { WatchedSession } from './disconnect-reason-watch.js';
import { AddressHistories, type EndedConnection } from './address-histories.js';

const ADDRESS = '10.0.0.7:50051';

function make() {
  const closed: number[] = [];
  const judged: EndedConnection[] = [];
  const clock = new VirtualClock();
  const owner = { probe: () => undefined, connections: [] };
  const histories = new AddressHistories(owner, clock, () => 0.5, {
    onClosed: ({ livedMs }) => closed.push(livedMs),
    onJudged: (one) => judged.push(one),
  });
  return { clock, closed, judged, histories };
}

describe('the histories of a thousand addresses', () => {
  const addresses = Array.from({ length: 1_000 }, (_, index) => `10.0.0.7:${String(index + 1)}`);

  it('contain each address that is in use', () => {
    const { histories } = make();
    for (const address of addresses) histories.entered(address, 'CONNECTING');
    for (const address of addresses) {
      // True: nothing else of it is asked for here.
      histories.connected(address, new EventEmitter() as unknown as Socket);
      histories.entered(address, 'READY');
    }
    expect(histories.known).toHaveLength(1_000);
    expect(histories.ready).toHaveLength(1_000);
  });

  it('contain 256 addresses if none of them is in use any more', () => {
    const { histories } = make();
    for (const address of addresses) {
      histories.entered(address, 'CONNECTING');
      histories.entered(address, 'IDLE');
    }
    expect(histories.known.map(({ address }) => address)).toEqual(addresses.slice(-256));
  });
});

describe('a connection that nobody uses any more', () => {
  it('is closed when its socket is', () => {
    const { clock, closed, histories } = make();
    // True: nothing else of it is asked for here.
    const socket = new EventEmitter() as unknown as Socket;
    histories.connected(ADDRESS, socket);
    clock.advance(500);
    histories.release(ADDRESS, false);
    expect(closed).toEqual([]);
    socket.emit('close');
    expect(closed).toEqual([500]);
  });

  it('is closed at once if its socket is unknown', () => {
    const { closed, histories } = make();
    histories.connected(ADDRESS, undefined);
    histories.release(ADDRESS, false);
    expect(closed).toHaveLength(1);
  });

  it('that ends while it is in use is not told as closed by this side', () => {
    const { closed, histories } = make();
    const socket = new EventEmitter() as unknown as Socket;
    histories.connected(ADDRESS, socket);
    socket.emit('close');
    expect(histories.disconnected(ADDRESS)).toMatchObject({ reason: 'unknown', othersReady: false });
    expect(closed).toEqual([]);
  });
});

describe('a connection that its server took its leave of before the first answer', () => {
  function takeLeave(made: ReturnType<typeof make>, code = 0) {
    const { clock, histories } = made;
    // True: nothing else of them is asked for here.
    const socket = new EventEmitter() as unknown as Socket;
    const session = new EventEmitter() as unknown as WatchedSession & EventEmitter;
    histories.connected(ADDRESS, socket);
    histories.at(ADDRESS)?.carries(session, false);
    const readyAt = clock.now();
    clock.advance(100);
    session.emit('goaway', code);
    return { ended: histories.disconnected(ADDRESS), socket, readyAt };
  }

  /** The first one was passed over. */
  function makeSecond() {
    const made = make();
    takeLeave(made);
    return made;
  }

  it('is in doubt, and its address is held off', () => {
    const made = makeSecond();
    expect(takeLeave(made).ended).toMatchObject({ closedImmediately: true, isUndecided: true });
    expect(made.histories).toMatchObject({ isUndecided: true });
    expect(made.histories.holdOffMs(ADDRESS)).toBeGreaterThan(0);
    expect(made.judged).toEqual([]);
  });

  it('was as good as any other once a call on it has an answer', () => {
    const made = makeSecond();
    const { readyAt } = takeLeave(made);
    made.histories.answeredTo(ADDRESS, readyAt);
    expect(made.histories.holdOffMs(ADDRESS)).toBeLessThanOrEqual(0);
    expect(made.judged).toMatchObject([{ answered: true, closedImmediately: false, livedMs: 100 }]);
    expect(made.histories).toMatchObject({ isUndecided: false });
  });

  it('proves nothing by an answer to a call that was older than it', () => {
    const made = makeSecond();
    made.clock.advance(10);
    const { readyAt } = takeLeave(made);
    made.histories.answeredTo(ADDRESS, readyAt - 1);
    expect(made.histories.holdOffMs(ADDRESS)).toBeGreaterThan(0);
    expect(made.judged).toEqual([]);
  });

  it('was no better than a failed attempt when it is cut off without an answer', () => {
    const made = makeSecond();
    const { socket } = takeLeave(made);
    socket.emit('close');
    expect(made.judged).toMatchObject([{ answered: false, closedImmediately: true }]);
    expect(made.histories.holdOffMs(ADDRESS)).toBeGreaterThan(0);
    expect(made.histories).toMatchObject({ isUndecided: false });
  });

  it('is proved by an answer on one of those before it as well', () => {
    const made = makeSecond();
    const { readyAt } = takeLeave(made);
    made.clock.advance(2_000);
    takeLeave(made);
    made.clock.advance(1);
    made.histories.answeredTo(ADDRESS, readyAt);
    expect(made.histories.holdOffMs(ADDRESS)).toBeLessThanOrEqual(0);
    expect(made.judged).toHaveLength(1);
    expect(made.histories).toMatchObject({ isUndecided: true });
  });

  it('is no such one when it was told that something was wrong', () => {
    const made = makeSecond();
    expect(takeLeave(made, 11).ended).toMatchObject({ closedImmediately: true, isUndecided: false });
  });

  it('is passed over the first time since the last answer: the next connection is made at once', () => {
    const made = make();
    const first = takeLeave(made);
    expect(first.ended).toMatchObject({ closedImmediately: false, isUndecided: true });
    expect(made.histories.holdOffMs(ADDRESS)).toBeLessThanOrEqual(0);
    first.socket.emit('close');
    expect(made.judged).toEqual([]);
    expect(takeLeave(made).ended).toMatchObject({ closedImmediately: true });
    // The first one counts: two in a row wait longer than one.
    expect(made.histories.holdOffMs(ADDRESS)).toBe(1_600);
    made.histories.connected(ADDRESS, undefined);
    made.histories.answered();
    expect(takeLeave(made).ended).toMatchObject({ closedImmediately: false });
  });

  it('counts if one before it ended at once with an error', () => {
    const made = make();
    takeLeave(made, 11);
    expect(takeLeave(made).ended).toMatchObject({ closedImmediately: true });
  });
});
