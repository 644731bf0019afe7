import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { IdleReadBarrier } from './idle-read-barrier.js';

/** Creates a barrier for two connections; `isEnding` of the second is true until turn `endingUntil`. */
function make(endingUntil = 0) {
  const clock = new VirtualClock();
  let turn = 0;
  // As in an event loop, a deferred task runs in the next turn, never in the current one.
  const loop = {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    setTimer: clock.setTimer.bind(clock),
    defer: (task: () => void) => {
      clock.defer(() => {
        turn += 1;
        task();
      });
    },
  };
  const connections = () => [{ isEnding: false }, { isEnding: turn < endingUntil }];
  return { clock, barrier: new IdleReadBarrier(connections, loop), turnsSoFar: () => turn };
}

describe('IdleReadBarrier', () => {
  it('delays the first call, and each call after 100 ms in which no attempt began or ended', () => {
    const { clock, barrier } = make();
    expect(barrier.isDue).toBe(true);
    barrier.used();
    expect(barrier.isDue).toBe(false);
    clock.advance(99);
    expect(barrier.isDue).toBe(false);
    clock.advance(1);
    expect(barrier.isDue).toBe(true);
  });

  it('starts delayed calls in sequence after two turns, when pending socket data has been read', () => {
    const { clock, barrier, turnsSoFar } = make();
    const begun: string[] = [];
    barrier.whenRead(() => begun.push(`first in turn ${turnsSoFar()}`));
    // An attempt ends now. The next task still must not overtake the first.
    barrier.used();
    expect(barrier.isDue).toBe(true);
    barrier.whenRead(() => begun.push(`second in turn ${turnsSoFar()}`));
    clock.advance(0);
    expect(begun).toEqual(['first in turn 2', 'second in turn 2']);
    expect(barrier.isDue).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it('delays the start of a call until a connection that is ending has ended', () => {
    const { clock, barrier, turnsSoFar } = make(4);
    let begunIn: number | undefined;
    barrier.whenRead(() => (begunIn = turnsSoFar()));
    clock.advance(0);
    expect(begunIn).toBe(4);
  });

  it('delays the start of a call by at most six turns while a connection is ending', () => {
    const { clock, barrier, turnsSoFar } = make(Infinity);
    let begunIn: number | undefined;
    barrier.whenRead(() => (begunIn = turnsSoFar()));
    clock.advance(0);
    expect(begunIn).toBe(6);
  });
});
