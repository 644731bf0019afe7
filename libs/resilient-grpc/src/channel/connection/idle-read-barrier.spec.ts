import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { IdleReadBarrier } from './idle-read-barrier.js';

/** The connection of it is ending until a turn. */
function hearing(endingUntil = 0) {
  const clock = new VirtualClock();
  let turn = 0;
  // As in an event loop: what is deferred runs in the next turn, and never in this one.
  const loop = {
    now: () => clock.now(),
    epoch: () => clock.epoch(),
    setTimer: clock.setTimer.bind(clock),
    clearTimer: clock.clearTimer.bind(clock),
    defer: (task: () => void) => {
      clock.defer(() => {
        turn += 1;
        task();
      });
    },
  };
  const connections = () => [{ isEnding: false }, { isEnding: turn < endingUntil }];
  return { clock, heard: new IdleReadBarrier(connections, loop), turnsSoFar: () => turn };
}

describe('what a peer says while nothing is asked of it', () => {
  it('is due at the first call, and when nothing began or ended for 100 ms', () => {
    const { clock, heard } = hearing();
    expect(heard.isDue).toBe(true);
    heard.used();
    expect(heard.isDue).toBe(false);
    clock.advance(99);
    expect(heard.isDue).toBe(false);
    clock.advance(1);
    expect(heard.isDue).toBe(true);
  });

  it('is read for two turns, after which those begin who came meanwhile, in their order', () => {
    const { clock, heard, turnsSoFar } = hearing();
    const begun: string[] = [];
    heard.whenRead(() => begun.push(`first in turn ${turnsSoFar()}`));
    // Another one ends just now: who comes next overtakes nobody.
    heard.used();
    expect(heard.isDue).toBe(true);
    heard.whenRead(() => begun.push(`second in turn ${turnsSoFar()}`));
    clock.advance(0);
    expect(begun).toEqual(['first in turn 2', 'second in turn 2']);
    expect(heard.isDue).toBe(false);
    expect(clock.pending).toBe(0);
  });

  it('is read further where an end was among it, until that is over', () => {
    const { clock, heard, turnsSoFar } = hearing(4);
    let begunIn: number | undefined;
    heard.whenRead(() => (begunIn = turnsSoFar()));
    clock.advance(0);
    expect(begunIn).toBe(4);
  });

  it('holds nobody up for more than six turns', () => {
    const { clock, heard, turnsSoFar } = hearing(Infinity);
    let begunIn: number | undefined;
    heard.whenRead(() => (begunIn = turnsSoFar()));
    clock.advance(0);
    expect(begunIn).toBe(6);
  });
});
