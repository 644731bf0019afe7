import { expect, it } from 'vitest';
import { BdpEstimator, MAX_MEASURED_WINDOW } from './bdp-estimator.js';

/** Returns the window after `rounds` round trips of `rttMs`, if the peer sends as much as the window and `bytesPerMs` allow. */
function windowAfter(rounds: number, rttMs: number, bytesPerMs: number): number {
  const estimator = new BdpEstimator(262_144);
  for (let round = 0; round < rounds; round++) {
    // The first half of the window.
    estimator.add(1);
    if (!estimator.mayBegin) break;
    estimator.begin(round * rttMs);
    // The PING follows the first half of the window, so it measures the second one.
    estimator.add(Math.min(estimator.window / 2, bytesPerMs * rttMs));
    estimator.end((round + 1) * rttMs);
  }
  return estimator.window;
}

it('doubles the window until the bandwidth is the limit, not the window', () => {
  expect(windowAfter(20, 100, 12_500)).toBe(4_194_304);
  expect(windowAfter(20, 10, 12_500)).toBe(524_288);
  expect(windowAfter(20, 100, 500)).toBe(262_144);
});

it('does not raise the window above its maximum, and then measures no more', () => {
  expect(windowAfter(20, 1_000, 1_000_000)).toBe(MAX_MEASURED_WINDOW);
});

it('does not raise the window if data do not arrive faster than before', () => {
  const estimator = new BdpEstimator(100_000);
  for (let round = 0; round < 10; round++) {
    estimator.begin(round * 100);
    estimator.add(100_000);
    estimator.end(round * 100 + 50 + round);
  }
  expect(estimator.window).toBe(200_000);
});

it('measures one round trip at a time', () => {
  const estimator = new BdpEstimator(100_000);
  estimator.end(10);
  estimator.add(1);
  estimator.begin(20);
  estimator.add(1);
  expect(estimator.mayBegin).toBe(false);
  estimator.end(30);
  expect([estimator.mayBegin, estimator.window]).toEqual([false, 100_000]);
  estimator.add(1);
  expect(estimator.mayBegin).toBe(true);
});

it('measures only after data that the peer has sent since the last measurement, because servers reject other PINGs', () => {
  const estimator = new BdpEstimator(100_000);
  expect(estimator.mayBegin).toBe(false);
  estimator.add(50_000);
  estimator.begin(0);
  // It left the peer before the answer to the PING.
  estimator.add(50_000);
  estimator.end(10);
  expect(estimator.mayBegin).toBe(false);
});
