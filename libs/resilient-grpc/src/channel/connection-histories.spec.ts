import { EventEmitter } from 'node:events';
import type { Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../testing/virtual-clock.js';
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
