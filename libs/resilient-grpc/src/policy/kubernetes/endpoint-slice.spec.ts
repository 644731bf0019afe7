import { describe, expect, it } from 'vitest';
import { watchDelayMs } from './endpoint-slice.js';

describe('watchDelayMs', () => {
  it('spreads the next watches of clients over one second after a stable Kubernetes watch', () => {
    expect([0, 0.5, 0.999].map((chance) => watchDelayMs(0, () => chance))).toEqual([0, 500, 999]);
  });

  it('doubles the delay of a Kubernetes watch with each consecutive failure, up to 30 s', () => {
    const delays = [1, 2, 3, 4, 5, 6, 7, 1_000].map((failures) => watchDelayMs(failures, () => 0.999_999));
    expect(delays.map(Math.round)).toEqual([1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
  });

  it('waits at least half of the backoff after a failed Kubernetes watch', () => {
    expect([1, 2, 10].map((failures) => watchDelayMs(failures, () => 0))).toEqual([500, 1_000, 15_000]);
  });
});
