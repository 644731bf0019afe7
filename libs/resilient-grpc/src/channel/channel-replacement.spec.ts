import { describe, expect, it } from 'vitest';
import type { WireChannel } from './wire-channel.js';
import { ChannelReplacement, type ChannelReplacementCallbacks } from './channel-replacement.js';

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
  const owner: ChannelReplacementCallbacks & { ready: boolean } = {
    ready: true,
    makeGeneration: () => {
      made.push(new FakeGeneration());
      // True enough: a replacement connects and closes it, and asks whether it is READY.
      return made.at(-1) as unknown as WireChannel;
    },
    promote: (generation, reason) => {
      promoted.push(`${made.indexOf(generation as unknown as FakeGeneration)} ${reason}`);
    },
  };
  const replacement = new ChannelReplacement(owner);
  const becomesReady = (index: number) => {
    const generation = made[index]!;
    generation.ready = true;
    return replacement.onState(generation as unknown as WireChannel, 'READY');
  };
  return { made, promoted, owner, replacement, becomesReady };
}

describe('a new channel', () => {
  it.each(['credentials', 'age'] as const)('for %s takes over when it is READY', (reason) => {
    const { made, promoted, replacement, becomesReady } = make();
    replacement.begin(reason);
    expect(made[0]?.connects).toBe(1);
    expect([promoted, replacement.pending]).toEqual([[], true]);
    expect(becomesReady(0)).toBe(true);
    expect([promoted, replacement.pending]).toEqual([[`0 ${reason}`], false]);
  });

  it('takes over at once where there is nothing to wait for', () => {
    const { made, promoted, owner, replacement } = make();
    owner.ready = false;
    replacement.begin('credentials');
    expect(promoted).toEqual(['0 credentials']);
    expect(made[0]?.connects).toBe(0);
  });

  it('takes the place of one that is being made', () => {
    const { made, promoted, replacement, becomesReady } = make();
    replacement.begin('age');
    replacement.begin('credentials');
    expect(made.map(({ closed }) => closed)).toEqual([true, false]);
    expect(becomesReady(0)).toBe(false);
    expect(promoted).toEqual([]);
    becomesReady(1);
    expect(promoted).toEqual(['1 credentials']);
  });

  it('that is dropped is closed', () => {
    const { made, promoted, replacement } = make();
    replacement.begin('age');
    replacement.drop();
    replacement.takeOver();
    expect(made[0]?.closed).toBe(true);
    expect(promoted).toEqual([]);
  });
});

describe('a new channel in place of a dead connection', () => {
  it('waits, READY, until it is taken', () => {
    const { promoted, replacement, becomesReady } = make();
    replacement.makeReplacement();
    expect(replacement.replacementReady).toBe(false);
    becomesReady(0);
    expect([promoted, replacement.replacementReady]).toEqual([[], true]);
    replacement.useReplacement();
    expect([promoted, replacement.replacementReady]).toEqual([['0 suspicion'], false]);
  });

  it('is made once, and asked to connect again: it may have lost its connection', () => {
    const { made, replacement } = make();
    replacement.makeReplacement();
    replacement.makeReplacement();
    expect(made).toHaveLength(1);
    expect(made[0]?.connects).toBe(2);
  });

  it('is not needed where another is being made, which is not for suspicion to take or to drop', () => {
    const { made, promoted, replacement, becomesReady } = make();
    replacement.begin('credentials');
    replacement.makeReplacement();
    expect(made).toHaveLength(1);
    expect(replacement.replacementReady).toBe(false);
    replacement.dropReplacement();
    expect(made[0]?.closed).toBe(false);
    becomesReady(0);
    expect(promoted).toEqual(['0 credentials']);
  });

  it('is dropped when the dead is heard of', () => {
    const { made, replacement } = make();
    replacement.makeReplacement();
    replacement.dropReplacement();
    expect([made[0]?.closed, replacement.pending]).toEqual([true, false]);
  });
});
