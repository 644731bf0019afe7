import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.js';
import type { WatchedSession } from './connection-end.js';
import { ConnectionHistories } from './connection-histories.js';

const ADDRESS = '10.0.0.7:50051';

function make() {
  const closed: number[] = [];
  const clock = new VirtualClock();
  const owner = { probe: () => undefined, connections: [] };
  const histories = new ConnectionHistories(
    owner,
    clock,
    () => 0.5,
    ({ livedMs }) => closed.push(livedMs),
  );
  return { clock, closed, histories };
}

/** What came of a connection that its server ended by GOAWAY `code` after 100 ms. */
function goneAfterGoaway({ clock, histories }: ReturnType<typeof make>, code = 0) {
  // True: nothing else of it is asked for here.
  const socket = new EventEmitter() as unknown as Socket;
  const session = new EventEmitter();
  histories.connected(ADDRESS, socket);
  // True: neither is of this.
  histories.at(ADDRESS)?.carries(session as unknown as WatchedSession, false);
  clock.advance(100);
  session.emit('goaway', code);
  return histories.disconnected(ADDRESS);
}

describe('a young connection without an answer', () => {
  it('died at once, and holds the next one off', () => {
    const made = make();
    expect(goneAfterGoaway(made, 2)).toMatchObject({ shortLived: true, forgiven: false });
    expect(made.histories.holdOffMs(ADDRESS)).toBe(1_000);
  });

  it('is forgiven when the server ended it in order', () => {
    const made = make();
    expect(goneAfterGoaway(made)).toMatchObject({ shortLived: false, forgiven: true });
    expect(made.histories.holdOffMs(ADDRESS)).toBe(0);
  });

  it('is not forgiven after five in a row, whatever came between them', () => {
    const made = make();
    const codes = [0, 0, 2, 0, 0, 0];
    expect(codes.map((code) => goneAfterGoaway(made, code).forgiven)).toEqual([true, true, false, true, true, true]);
    expect(goneAfterGoaway(made)).toMatchObject({ shortLived: true, forgiven: false });
    expect(made.histories.holdOffMs(ADDRESS)).toBe(1_600);
  });

  it('is forgiven again when the server has answered a call of one of them since, however late', () => {
    const made = make();
    for (let count = 0; count < 5; count++) goneAfterGoaway(made);
    made.histories.answeredLate(50);
    expect(goneAfterGoaway(made).forgiven).toBe(true);
    expect(made.histories.holdOffMs(ADDRESS)).toBe(0);
  });

  it('is not forgiven for an answer to a call that began before all of them', () => {
    const made = make();
    made.clock.advance(1_000);
    for (let count = 0; count < 5; count++) goneAfterGoaway(made);
    made.histories.answeredLate(500);
    expect(goneAfterGoaway(made).forgiven).toBe(false);
  });
});

describe('a connection that nobody uses any more', () => {
  it('is closed when its socket is', () => {
    const { clock, closed, histories } = make();
    // True: nothing else of it is asked for here.
    const socket = new EventEmitter() as unknown as Socket;
    histories.connected(ADDRESS, socket);
    clock.advance(500);
    histories.letGo(ADDRESS, false);
    expect(closed).toEqual([]);
    expect(histories.takenUp(ADDRESS)).toBe(true);
    histories.letGo(ADDRESS, false);
    socket.emit('close');
    expect(closed).toEqual([500]);
  });

  it('is closed at once where its socket is not known, and another when it is taken up again', () => {
    const { closed, histories } = make();
    histories.connected(ADDRESS, undefined);
    histories.letGo(ADDRESS, false);
    expect(closed).toHaveLength(1);
    expect(histories.takenUp(ADDRESS)).toBe(false);
  });

  it('that ends while it is in use is not told as closed by this side', () => {
    const { closed, histories } = make();
    const socket = new EventEmitter() as unknown as Socket;
    histories.connected(ADDRESS, socket);
    socket.emit('close');
    expect(histories.disconnected(ADDRESS)).toMatchObject({ because: 'unknown', othersReady: false });
    expect(closed).toEqual([]);
  });
});
