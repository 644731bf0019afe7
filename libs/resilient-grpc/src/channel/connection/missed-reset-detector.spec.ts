import { beforeEach, describe, expect, it } from 'vitest';
import { BusyClock } from '../../testing/busy-clock.js';
import { MissedResetDetector } from './missed-reset-detector.js';

function connection() {
  const made = { bytesRead: 0, isReset: false, isStopped: false, destroyed: [] as string[] };
  return Object.assign(made, { destroy: (because: string) => void made.destroyed.push(because) });
}

describe('the end of a connection that Node does not read', () => {
  let clock: BusyClock;
  let connections: ReturnType<typeof connection>[];
  let active: boolean;
  let ends: MissedResetDetector;

  beforeEach(() => {
    clock = new BusyClock();
    connections = [connection(), connection()];
    active = true;
    ends = new MissedResetDetector(
      () => connections,
      () => active,
      clock,
    );
  });

  it('is found at the second look, and ends that connection and no other', () => {
    connections[0]!.isReset = true;
    ends.wake();
    clock.advance(499);
    expect(connections[0]!.destroyed).toEqual([]);
    clock.advance(1);
    expect(connections.map(({ destroyed }) => destroyed)).toEqual([['connection reset'], []]);
  });

  it('is found at the next look if HTTP/2 has ended on it', () => {
    ends.wake();
    connections[1]!.isStopped = true;
    clock.advance(249);
    expect(connections[1]!.destroyed).toEqual([]);
    clock.advance(1);
    expect(connections.map(({ destroyed }) => destroyed)).toEqual([[], ['connection aborted']]);
  });

  it('is found before the first call after an idle period if HTTP/2 has ended on it', () => {
    connections[1]!.isStopped = true;
    ends.wake();
    expect(connections.map(({ destroyed }) => destroyed)).toEqual([[], ['connection aborted']]);
  });

  it('has time while something is still read', () => {
    connections[0]!.isReset = true;
    ends.wake();
    for (let look = 0; look < 8; look++) {
      connections[0]!.bytesRead += 1;
      clock.advance(250);
    }
    expect(connections[0]!.destroyed).toEqual([]);
    clock.advance(250);
    expect(connections[0]!.destroyed).toEqual(['connection reset']);
  });

  it('reports no reset if pending data is read in the turn of a late check', () => {
    connections[0]!.isReset = true;
    ends.wake();
    clock.advance(260);
    clock.setTimer(() => (connections[0]!.bytesRead += 1), 300);
    clock.block(1_000);
    clock.advance(1_000);
    expect(connections[0]!.destroyed).toEqual([]);
  });

  it('is looked for while calls are under way, and by one timer', () => {
    ends.wake();
    ends.wake();
    clock.advance(10_000);
    expect(clock.pending).toBe(1);
    active = false;
    clock.advance(250);
    expect(clock.pending).toBe(0);
    connections[0]!.isReset = true;
    clock.advance(10_000);
    expect(connections[0]!.destroyed).toEqual([]);
    active = true;
    ends.wake();
    clock.advance(500);
    expect(connections[0]!.destroyed).toEqual(['connection reset']);
  });

  it('is looked for no more after a stop', () => {
    connections[0]!.isReset = true;
    ends.wake();
    ends.stop();
    clock.advance(10_000);
    expect(connections[0]!.destroyed).toEqual([]);
  });
});
