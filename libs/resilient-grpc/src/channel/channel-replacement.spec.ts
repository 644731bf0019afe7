import { describe, expect, it } from 'vitest';
import type { WireChannel } from './wire-channel.js';
import { ChannelReplacement, type ChannelReplacementCallbacks } from './channel-replacement.js';

class FakeWireChannel {
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
  const made: FakeWireChannel[] = [];
  const promoted: string[] = [];
  const owner: ChannelReplacementCallbacks & { ready: boolean } = {
    ready: true,
    createWireChannel: () => {
      made.push(new FakeWireChannel());
      // Safe: a replacement uses only `ready`, `connect` and `close`.
      return made.at(-1) as unknown as WireChannel;
    },
    promote: (generation, reason) => {
      promoted.push(`${made.indexOf(generation as unknown as FakeWireChannel)} ${reason}`);
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

describe('ChannelReplacement', () => {
  it.each(['credentials', 'age'] as const)('takes over when READY if the reason is %s', (reason) => {
    const { made, promoted, replacement, becomesReady } = make();
    replacement.begin(reason);
    expect(made[0]?.connects).toBe(1);
    expect([promoted, replacement.pending]).toEqual([[], true]);
    expect(becomesReady(0)).toBe(true);
    expect([promoted, replacement.pending]).toEqual([[`0 ${reason}`], false]);
  });

  it('takes over immediately if the current channel is not READY', () => {
    const { made, promoted, owner, replacement } = make();
    owner.ready = false;
    replacement.begin('credentials');
    expect(promoted).toEqual(['0 credentials']);
    expect(made[0]?.connects).toBe(0);
  });

  it('closes a pending replacement when another one begins', () => {
    const { made, promoted, replacement, becomesReady } = make();
    replacement.begin('age');
    replacement.begin('credentials');
    expect(made.map(({ closed }) => closed)).toEqual([true, false]);
    expect(becomesReady(0)).toBe(false);
    expect(promoted).toEqual([]);
    becomesReady(1);
    expect(promoted).toEqual(['1 credentials']);
  });

  it('closes a dropped replacement', () => {
    const { made, promoted, replacement } = make();
    replacement.begin('age');
    replacement.drop();
    replacement.takeOver();
    expect(made[0]?.closed).toBe(true);
    expect(promoted).toEqual([]);
  });
});

describe('replacement of a dead connection', () => {
  it('stays pending when READY until useReplacement()', () => {
    const { promoted, replacement, becomesReady } = make();
    replacement.makeReplacement();
    expect(replacement.replacementReady).toBe(false);
    becomesReady(0);
    expect([promoted, replacement.replacementReady]).toEqual([[], true]);
    replacement.useReplacement();
    expect([promoted, replacement.replacementReady]).toEqual([['0 suspicion'], false]);
  });

  it('creates one replacement and reconnects it, in case it lost its connection', () => {
    const { made, replacement } = make();
    replacement.makeReplacement();
    replacement.makeReplacement();
    expect(made).toHaveLength(1);
    expect(made[0]?.connects).toBe(2);
  });

  it('creates none and drops none while a replacement for another reason is pending', () => {
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

  it('closes the replacement on dropReplacement()', () => {
    const { made, replacement } = make();
    replacement.makeReplacement();
    replacement.dropReplacement();
    expect([made[0]?.closed, replacement.pending]).toEqual([true, false]);
  });
});
