import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import { StreamBatches } from './stream-batches.js';

function make(count: number) {
  const clock = new VirtualClock();
  const batches = new StreamBatches(clock);
  const endedAt = new Map<number, number[]>();
  const streams = Array.from({ length: count }, (_, index) => index);
  const over = batches.end(streams, (stream) => {
    endedAt.set(clock.now(), [...(endedAt.get(clock.now()) ?? []), stream]);
  });
  const sizes = () => [...endedAt].map(([at, ended]) => `${at} ms: ${ended.length}`);
  return { clock, batches, over, sizes, ended: () => [...endedAt.values()].flat(), streams };
}

describe('StreamBatches', () => {
  it.each<[count: number, sizes: string[]]>([
    [0, []],
    [1, ['0 ms: 1']],
    [100, ['0 ms: 100']],
    [101, ['0 ms: 100', '10 ms: 1']],
    [200, ['0 ms: 100', '10 ms: 100']],
    [350, ['0 ms: 100', '10 ms: 100', '20 ms: 100', '30 ms: 50']],
  ])('ends streams in sequence, in batches of 100 every 10 ms (%i streams)', async (count, expected) => {
    const { clock, over, sizes, ended, streams } = make(count);
    await clock.advanceAsync(1_000);
    await over;
    expect(sizes()).toEqual(expected);
    expect(ended()).toEqual(streams);
    expect(clock.pending).toBe(0);
  });

  it('ends the first batch of streams synchronously', () => {
    expect(make(101).sizes()).toEqual(['0 ms: 100']);
  });

  it('skips the remaining batches of streams and clears the timer on stop()', async () => {
    const { clock, batches, over, sizes } = make(350);
    await clock.advanceAsync(10);
    batches.stop();
    await over;
    expect(sizes()).toEqual(['0 ms: 100', '10 ms: 100']);
    expect(clock.pending).toBe(0);
  });
});
