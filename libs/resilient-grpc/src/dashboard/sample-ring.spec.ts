import { describe, expect, it } from 'vitest';
import { SAMPLE_FIELDS, SampleRing } from './sample-ring.js';

const sample = (at: number) => SAMPLE_FIELDS.map((_field, i) => at + i / 10);

describe('SampleRing', () => {
  it('returns samples oldest first', () => {
    const ring = new SampleRing(3);
    expect(ring.latest()).toEqual([]);
    for (const at of [1, 2]) ring.push(sample(at));
    expect(ring.latest()).toEqual([sample(1), sample(2)]);
  });

  it('replaces the oldest samples when it is full', () => {
    const ring = new SampleRing(3);
    for (const at of [1, 2, 3, 4, 5]) ring.push(sample(at));
    expect(ring.latest()).toEqual([sample(3), sample(4), sample(5)]);
    expect(ring.latest(2)).toEqual([sample(4), sample(5)]);
  });
});
