import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { insideGrace, NO_OUTAGE, type OutageEvent, type OutageState, nextOutage } from './next-outage.js';

const GRACE_MS = 5_000;

const failed = (at: number): OutageEvent => ({ type: 'attempt-failed', at });
const ready = (at: number): OutageEvent => ({ type: 'ready', at });
const answered = (at: number): OutageEvent => ({ type: 'answered', at });
const lasted = (at: number): OutageEvent => ({ type: 'ready-lasted', at });
const ended = (at: number, livedMs: number, hadAnswer = false): OutageEvent => ({
  type: 'connection-ended',
  at,
  livedMs,
  answered: hadAnswer,
});

function after(...events: readonly OutageEvent[]): OutageState {
  return events.reduce((state, event) => nextOutage(state, event, GRACE_MS), NO_OUTAGE);
}

describe('outage', () => {
  it('starts an outage with the first failed connection attempt, even at startup', () => {
    expect(after(failed(100)).current).toEqual({
      startedAt: 100,
      graceEndsAt: 5_100,
      connectAttempts: 1,
      flapping: false,
      readySince: undefined,
    });
  });

  it('starts no outage if the channel becomes READY and the server responds at startup', () => {
    expect(after(ready(0), answered(10), lasted(1_000))).toBe(NO_OUTAGE);
  });

  it('starts no outage if a connection ends after a response or after 1 s', () => {
    expect(after(ready(0), ended(60_000, 60_000, true))).toBe(NO_OUTAGE);
    expect(after(ready(0), ended(300, 300, true))).toBe(NO_OUTAGE);
    expect(after(ready(0), ended(1_000, 1_000))).toBe(NO_OUTAGE);
  });

  it('starts an outage if a connection closes immediately', () => {
    expect(after(ready(0), ended(5, 5)).current).toMatchObject({ startedAt: 5, connectAttempts: 1 });
  });

  it('counts failed connection attempts, and keeps the start and the grace period of the outage', () => {
    expect(after(failed(0), failed(1_000), failed(9_000)).current).toMatchObject({
      startedAt: 0,
      connectAttempts: 3,
      graceEndsAt: 5_000,
    });
  });

  it('does not end the outage when the channel becomes READY', () => {
    expect(after(failed(0), ready(500)).current).toMatchObject({ readySince: 500 });
  });

  it('ends the outage when the server responds', () => {
    expect(after(failed(0), ready(500), answered(510)).current).toBeUndefined();
  });

  it('ends the outage after READY has lasted one second', () => {
    expect(after(failed(0), ready(500), lasted(1_499)).current).toBeDefined();
    expect(after(failed(0), ready(500), lasted(1_500)).current).toBeUndefined();
  });

  it('measures the time in READY from the first READY report', () => {
    expect(after(failed(0), ready(500), ready(1_400), lasted(1_500)).current).toBeUndefined();
  });

  it('counts a connection that ends less than 1 s after it opened as a failed attempt', () => {
    expect(after(failed(0), ready(100), ended(1_099, 999)).current).toMatchObject({ connectAttempts: 2 });
    expect(after(failed(0), ready(100), ended(1_100, 1_000)).current).toBeUndefined();
  });

  it('does not end the outage when the timer of an earlier READY fires', () => {
    expect(after(failed(0), ready(500), ended(600, 100), lasted(1_500)).current).toBeDefined();
    expect(after(failed(0), ready(500), ended(600, 100), ready(1_400), lasted(1_500)).current).toBeDefined();
  });

  it('continues the outage while the server closes each connection right after it sends SETTINGS', () => {
    const events = Array.from({ length: 12 }, (_, i) => [ready(i * 5_000), ended(i * 5_000 + 5, 5)]).flat();
    expect(after(...events).current).toMatchObject({ startedAt: 5, connectAttempts: 12, graceEndsAt: 5_005 });
  });

  it('ends the outage if a connection closes after a response or after 1 s, even if no earlier event reported the response or the duration', () => {
    expect(after(failed(0), ready(100), ended(2_000, 1_900)).current).toBeUndefined();
    expect(after(failed(0), ready(100), ended(200, 100, true)).current).toBeUndefined();
  });
});

describe('grace period', () => {
  it('ends the grace period graceMs after the start of the outage', () => {
    const state = after(failed(0));
    expect(insideGrace(state, 4_999)).toBe(true);
    expect(insideGrace(state, 5_000)).toBe(false);
  });

  it('reports no active grace period if there is no outage', () => {
    expect(insideGrace(NO_OUTAGE, 0)).toBe(false);
  });

  it('grants the full grace period for a second outage', () => {
    expect(after(failed(0), answered(1_000), failed(20_000)).current).toMatchObject({
      graceEndsAt: 25_000,
      flapping: false,
    });
  });

  it('shortens the grace period of the third outage in a minute (flapping) by what the earlier ones have used', () => {
    const state = after(failed(0), answered(3_000), failed(4_000), answered(5_500), failed(6_000));
    expect(state.current).toMatchObject({ flapping: true, graceEndsAt: 6_000 + 5_000 - (3_000 - 500 + 1_500 - 250) });
  });

  it('gives back half of the time between two outages, so that a server which restarts again and again is waited for', () => {
    const restarts = Array.from({ length: 20 }, (_, i) => [failed(i * 15_000), answered(i * 15_000 + 3_000)]).flat();
    expect(after(...restarts, failed(300_000)).current).toMatchObject({ flapping: true, graceEndsAt: 305_000 });
  });

  it('grants no grace period if earlier outages used it up', () => {
    const state = after(failed(0), answered(9_000), failed(9_001), answered(20_000), failed(20_000));
    expect(state.current).toMatchObject({ flapping: true, graceEndsAt: 20_000 });
    expect(insideGrace(state, 20_000)).toBe(false);
  });

  it('grants the full grace period again if only one earlier outage started within the last minute', () => {
    const state = after(failed(0), answered(1), failed(10_000), answered(10_001), failed(60_000));
    expect(state.current).toMatchObject({ flapping: false, graceEndsAt: 65_000 });
  });
});

describe('any sequence of events', () => {
  const event = fc.tuple(
    fc.constantFrom<OutageEvent['type'][]>('attempt-failed', 'ready', 'connection-ended', 'answered', 'ready-lasted'),
    fc.nat(20_000),
    fc.nat(3_000),
    fc.boolean(),
  );

  it('counts connection attempts from 1, and grants a grace period of at most graceMs', () => {
    fc.assert(
      fc.property(fc.array(event), (history) => {
        let state = NO_OUTAGE;
        let at = 0;
        for (const [type, elapsed, livedMs, hadAnswer] of history) {
          at += elapsed;
          const next = nextOutage(
            state,
            type === 'connection-ended' ? ended(at, livedMs, hadAnswer) : { type, at },
            GRACE_MS,
          );
          if (next.current) {
            expect(next.current.connectAttempts).toBeGreaterThanOrEqual(1);
            expect(next.current.graceEndsAt - next.current.startedAt).toBeLessThanOrEqual(GRACE_MS);
            expect(next.current.graceEndsAt).toBeGreaterThanOrEqual(next.current.startedAt);
          }
          state = next;
        }
      }),
    );
  });
});
