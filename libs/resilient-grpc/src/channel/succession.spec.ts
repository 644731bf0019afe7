import { describe, expect, it } from 'vitest';
import type { ChannelGeneration } from './channel-generation.js';
import { Succession, type SuccessionOwner } from './succession.js';

class FakeGeneration {
  ready = false;
  connects = 0;
  closed = false;
  connect(): void {
    this.connects += 1;
  }
  close(): void {
    this.closed = true;
  }
}

function make() {
  const made: FakeGeneration[] = [];
  const promoted: string[] = [];
  const owner: SuccessionOwner & { ready: boolean } = {
    ready: true,
    makeGeneration: () => {
      made.push(new FakeGeneration());
      // True enough: a succession connects and closes it, and asks whether it is READY.
      return made.at(-1) as unknown as ChannelGeneration;
    },
    promote: (generation, reason) => {
      promoted.push(`${made.indexOf(generation as unknown as FakeGeneration)} ${reason}`);
    },
  };
  const succession = new Succession(owner);
  const becomesReady = (index: number) => {
    const generation = made[index]!;
    generation.ready = true;
    return succession.onState(generation as unknown as ChannelGeneration, 'READY');
  };
  return { made, promoted, owner, succession, becomesReady };
}

describe('a new channel', () => {
  it.each(['credentials', 'age'] as const)('for %s takes over when it is READY', (reason) => {
    const { made, promoted, succession, becomesReady } = make();
    succession.begin(reason);
    expect(made[0]?.connects).toBe(1);
    expect([promoted, succession.pending]).toEqual([[], true]);
    expect(becomesReady(0)).toBe(true);
    expect([promoted, succession.pending]).toEqual([[`0 ${reason}`], false]);
  });

  it('takes over at once where there is nothing to wait for', () => {
    const { made, promoted, owner, succession } = make();
    owner.ready = false;
    succession.begin('credentials');
    expect(promoted).toEqual(['0 credentials']);
    expect(made[0]?.connects).toBe(0);
  });

  it('takes the place of one that is being made', () => {
    const { made, promoted, succession, becomesReady } = make();
    succession.begin('age');
    succession.begin('credentials');
    expect(made.map(({ closed }) => closed)).toEqual([true, false]);
    expect(becomesReady(0)).toBe(false);
    expect(promoted).toEqual([]);
    becomesReady(1);
    expect(promoted).toEqual(['1 credentials']);
  });

  it('that is dropped is closed', () => {
    const { made, promoted, succession } = make();
    succession.begin('age');
    succession.drop();
    succession.takeOver();
    expect(made[0]?.closed).toBe(true);
    expect(promoted).toEqual([]);
  });
});

describe('a new channel in place of a dead connection', () => {
  it('waits, READY, until it is taken', () => {
    const { promoted, succession, becomesReady } = make();
    succession.makeSuccessor();
    expect(succession.successorReady).toBe(false);
    becomesReady(0);
    expect([promoted, succession.successorReady]).toEqual([[], true]);
    succession.takeSuccessor();
    expect([promoted, succession.successorReady]).toEqual([['0 suspicion'], false]);
  });

  it('is made once, and asked to connect again: it may have lost its connection', () => {
    const { made, succession } = make();
    succession.makeSuccessor();
    succession.makeSuccessor();
    expect(made).toHaveLength(1);
    expect(made[0]?.connects).toBe(2);
  });

  it('is not needed where another is being made, which is not for suspicion to take or to drop', () => {
    const { made, promoted, succession, becomesReady } = make();
    succession.begin('credentials');
    succession.makeSuccessor();
    expect(made).toHaveLength(1);
    expect(succession.successorReady).toBe(false);
    succession.dropSuccessor();
    expect(made[0]?.closed).toBe(false);
    becomesReady(0);
    expect(promoted).toEqual(['0 credentials']);
  });

  it('is dropped when the dead is heard of', () => {
    const { made, succession } = make();
    succession.makeSuccessor();
    succession.dropSuccessor();
    expect([made[0]?.closed, succession.pending]).toEqual([true, false]);
  });
});
