import { beforeEach, describe, expect, it } from 'vitest';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { MissedResetDetector } from './missed-reset-detector.js';

function connection() {
  const made = { bytesRead: 0, isReset: false, isStopped: false, destroyed: [] as string[] };
  return Object.assign(made, {
    destroy: (because: string) => void made.destroyed.push(because),
    checkReceived: () => undefined,
  });
}

describe('MissedResetDetector', () => {
  let clock: BusyClock;
  let connections: ReturnType<typeof connection>[];
  let active: boolean;
  let detector: MissedResetDetector;

  beforeEach(() => {
    clock = new BusyClock();
    connections = [connection(), connection()];
    active = true;
    detector = new MissedResetDetector(
      () => connections,
      () => active,
      clock,
    );
  });

  it('closes only the reset connection, at the second check for missed resets', () => {
    connections[0]!.isReset = true;
    detector.wake();
    clock.advance(499);
    expect(connections[0]!.destroyed).toEqual([]);
    clock.advance(1);
    expect(connections.map(({ destroyed }) => destroyed)).toEqual([['connection reset'], []]);
  });

  it('closes a connection at the next check for missed resets if its HTTP/2 session has stopped', () => {
    detector.wake();
    connections[1]!.isStopped = true;
    clock.advance(249);
    expect(connections[1]!.destroyed).toEqual([]);
    clock.advance(1);
    expect(connections.map(({ destroyed }) => destroyed)).toEqual([[], ['connection aborted']]);
  });

  it('closes a connection before the first call after an idle period if its HTTP/2 session has stopped', () => {
    connections[1]!.isStopped = true;
    detector.wake();
    expect(connections.map(({ destroyed }) => destroyed)).toEqual([[], ['connection aborted']]);
  });

  it('keeps a reset connection while data is still read from it', () => {
    connections[0]!.isReset = true;
    detector.wake();
    for (let check = 0; check < 8; check++) {
      connections[0]!.bytesRead += 1;
      clock.advance(250);
    }
    expect(connections[0]!.destroyed).toEqual([]);
    clock.advance(250);
    expect(connections[0]!.destroyed).toEqual(['connection reset']);
  });

  it('closes no connection if data is read in the same turn as a late check for missed resets', () => {
    connections[0]!.isReset = true;
    detector.wake();
    clock.advance(260);
    clock.setTimer(() => (connections[0]!.bytesRead += 1), 300);
    clock.block(1_000);
    clock.advance(1_000);
    expect(connections[0]!.destroyed).toEqual([]);
  });

  it('checks connections for missed resets only while calls are active, with one timer', () => {
    detector.wake();
    detector.wake();
    clock.advance(10_000);
    expect(clock.pending).toBe(1);
    active = false;
    clock.advance(250);
    expect(clock.pending).toBe(0);
    connections[0]!.isReset = true;
    clock.advance(10_000);
    expect(connections[0]!.destroyed).toEqual([]);
    active = true;
    detector.wake();
    clock.advance(500);
    expect(connections[0]!.destroyed).toEqual(['connection reset']);
  });

  it('does not check connections for missed resets after stop()', () => {
    connections[0]!.isReset = true;
    detector.wake();
    detector.stop();
    clock.advance(10_000);
    expect(connections[0]!.destroyed).toEqual([]);
  });
});
