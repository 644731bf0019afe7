import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  nextSuspicion,
  NOT_SUSPECTED,
  type SuspicionEvent,
  type SuspicionState,
  decideReplacement,
  type Replacements,
  SUSPICION as POLICY,
} from './next-suspicion.js';

const BYTES = 1_000;
/** Draws half of the 5 s jitter. */
const middle = () => 0.5;

const timedOut = (at: number, waitedMs = 1_000, bytesRead = BYTES): SuspicionEvent => ({
  type: 'timed-out',
  at,
  bytesRead,
  waitedMs,
});
type Check = Extract<SuspicionEvent, { type: 'check' }>;
const checked = (at: number, change: Partial<Check> = {}): SuspicionEvent => ({
  type: 'check',
  at,
  bytesRead: BYTES,
  late: false,
  otherReady: false,
  ...change,
});
const oneMoreByte = { bytesRead: BYTES + 1 };

function after(...events: readonly SuspicionEvent[]): SuspicionState {
  return from(NOT_SUSPECTED, ...events);
}
function from(state: SuspicionState, ...events: readonly SuspicionEvent[]): SuspicionState {
  return events.reduce((before, event) => nextSuspicion(before, event, middle), state);
}

/** Three calls of 1 s timed out, the first at 0, so the probe is due at 7,500 ms. */
const TIMEOUTS = [timedOut(0), timedOut(10), timedOut(20)];
const PROBED = [...TIMEOUTS, checked(7_500)];
const DEAD = [...PROBED, checked(10_000), checked(12_500)];
const REPLACEABLE = [...DEAD, checked(13_000, { otherReady: true })];

describe('probe start', () => {
  it.each<[string, boolean, SuspicionEvent[]]>([
    ['probes a connection after three timeouts and 5 s of silence plus jitter', true, PROBED],
    ['does not probe a connection 1 ms before the probe is due', false, [...TIMEOUTS, checked(7_499)]],
    [
      'does not probe a connection 1 ms before the probe is due, whatever the clock value',
      false,
      [100_000, 100_010, 100_020].map((at) => timedOut(at)).concat(checked(107_499)),
    ],
    ['does not probe a connection after two timeouts', false, [timedOut(0), timedOut(10), checked(60_000)]],
    ['does not probe a silent connection without timeouts', false, [checked(1_000_000)]],
    [
      'probes a connection after twice the duration of the longest call, plus jitter, if that is longer than the minimum silence',
      true,
      [timedOut(0, 9_000), timedOut(10), timedOut(20), checked(20_500)],
    ],
    [
      'does not probe a connection 1 ms before twice the duration of the longest call, plus jitter, has passed',
      false,
      [timedOut(0, 9_000), timedOut(10), timedOut(20), checked(20_499)],
    ],
    [
      'probes a connection if the calls timed out one after another',
      true,
      [0, 6_000, 12_000, 13_000].map((at) => timedOut(at, 6_000)).concat(checked(14_500)),
    ],
    ['does not probe a connection if a byte arrived', false, [...TIMEOUTS, checked(7_500, oneMoreByte)]],
    [
      'does not probe a connection if a byte arrived between the timeouts',
      false,
      [timedOut(0), timedOut(10, 1_000, 900), timedOut(20), checked(7_500)],
    ],
    [
      'does not probe a connection if the event loop was delayed after the timeouts',
      false,
      [...TIMEOUTS, checked(4_000, { late: true }), checked(7_500)],
    ],
    [
      'does not probe a connection if the event loop is delayed at the check itself',
      false,
      [...TIMEOUTS, checked(7_500, { late: true })],
    ],
  ])('%s', (_, isProbed, events) => {
    expect(after(...events).kind === 'probed').toBe(isProbed);
  });

  it('probes a connection after a random time from 5 s to 10 s', () => {
    const at = (random: number) => {
      const state = TIMEOUTS.reduce((before, event) => nextSuspicion(before, event, () => random), NOT_SUSPECTED);
      return [5_000, 10_000].map((ms) => nextSuspicion(state, checked(ms), () => random).kind);
    };
    expect(at(0)).toEqual(['probed', 'probed']);
    expect(at(0.999_9)).toEqual(['suspected', 'probed']);
  });

  it('probes a connection at most once per 30 s', () => {
    const cleared = from(after(...PROBED), checked(8_000, oneMoreByte));
    expect(cleared).toMatchObject({ kind: 'trusted', probes: { nextAt: 37_500 } });
    const again = from(cleared, ...[9_000, 9_010, 9_020].map((at) => timedOut(at, 1_000, BYTES + 1)));
    expect(from(again, checked(37_499, oneMoreByte)).kind).toBe('suspected');
    expect(from(again, checked(37_500, oneMoreByte)).kind).toBe('probed');
  });
});

describe('probe', () => {
  it('sends a PING after half of the probe timeout', () => {
    expect(after(...PROBED, checked(9_999)).kind).toBe('probed');
    expect(after(...PROBED, checked(10_000)).kind).toBe('pinged');
  });

  it('declares a connection dead if no byte arrives within half of the probe timeout after the PING', () => {
    expect(after(...PROBED, checked(10_000), checked(12_499)).kind).toBe('pinged');
    expect(after(...DEAD).kind).toBe('dead');
    expect(after(...PROBED, checked(11_000), checked(13_499)).kind).toBe('pinged');
    expect(after(...PROBED, checked(11_000), checked(13_500)).kind).toBe('dead');
  });

  it.each([
    ['a byte', checked(12_499, oneMoreByte)],
    ['a byte that is detected when a call times out', timedOut(12_499, 1_000, BYTES + 1)],
  ])('ends the probe of a connection after %s', (_, event) => {
    expect(after(...PROBED, event).kind).toMatch(/trusted|suspected/);
    expect(after(...PROBED, checked(10_000), event).kind).toMatch(/trusted|suspected/);
  });

  it('restarts the timeout of a connection probe if the event loop was delayed', () => {
    const beforePing = [...PROBED, checked(10_000, { late: true })];
    expect(after(...beforePing, checked(12_499)).kind).toBe('probed');
    expect(after(...beforePing, checked(12_500)).kind).toBe('pinged');
    const afterPing = [...PROBED, checked(10_000), checked(12_500, { late: true })];
    expect(after(...afterPing, checked(14_999)).kind).toBe('pinged');
    expect(after(...afterPing, checked(15_000)).kind).toBe('dead');
  });

  it('allows the next probe of a connection after 30 s, but only after 5 min if two PINGs were sent', () => {
    const probe = (state: SuspicionState, at: number) =>
      from(
        state,
        ...[0, 1, 2].map((ms) => timedOut(at - 7_500 + ms)),
        checked(at),
        checked(at + 2_500),
        checked(at + 3_000, oneMoreByte),
      );
    const once = probe(NOT_SUSPECTED, 100_000);
    expect(once.probes).toEqual({ pings: 1, nextAt: 130_000 });
    const twice = probe(once, 200_000);
    expect(twice.probes).toEqual({ pings: 2, nextAt: 502_500 });
    expect(from(twice, ...TIMEOUTS.map((_, i) => timedOut(490_000 + i)), checked(502_499)).kind).toBe('suspected');
  });
});

describe('dead connection', () => {
  it('marks a dead connection as replaceable when another connection becomes READY, however long that takes', () => {
    expect(after(...DEAD, checked(1_000_000)).kind).toBe('dead');
    expect(after(...REPLACEABLE).kind).toBe('replaceable');
  });

  it('marks a dead connection as abandoned if it is still silent 0.5 s after another connection became READY', () => {
    expect(after(...REPLACEABLE, checked(13_499, { otherReady: true })).kind).toBe('replaceable');
    expect(after(...REPLACEABLE, checked(13_500, { otherReady: true })).kind).toBe('abandoned');
  });

  it('does not change the state of an abandoned connection at later checks', () => {
    const abandoned = after(...REPLACEABLE, checked(13_500, { otherReady: true }));
    expect(from(abandoned, checked(14_000, { otherReady: true }), checked(15_000, { late: true }))).toBe(abandoned);
  });

  it('marks a replaceable connection as dead again if the other connection is no longer READY', () => {
    expect(after(...REPLACEABLE, checked(13_500)).kind).toBe('dead');
  });

  it('keeps a replaceable connection for another 0.5 s if the check is late', () => {
    const late = after(...REPLACEABLE, checked(14_000, { otherReady: true, late: true }));
    expect(late).toMatchObject({ kind: 'replaceable', dueAt: 14_500 });
  });

  it.each([
    ['that waits for its replacement', DEAD],
    ['that is about to be replaced', REPLACEABLE],
  ])('clears the suspicion of a connection %s if a byte arrives', (_, events) => {
    expect(after(...events, checked(13_500, { otherReady: true, ...oneMoreByte }))).toMatchObject({
      kind: 'trusted',
    });
    expect(after(...events, timedOut(13_500, 1_000, BYTES + 1)).kind).toBe('suspected');
  });

  it('counts calls that time out on a dead connection', () => {
    expect(after(...DEAD, timedOut(12_600), timedOut(12_700, 2_000))).toMatchObject({
      kind: 'dead',
      evidence: { since: 0, timeouts: 5, longestMs: 2_000, lastTimeoutAt: 12_700 },
    });
  });

  it('keeps a dead connection if its replacement is refused, and probes it again 30 s after the first probe', () => {
    const rejected = after(...DEAD, { type: 'cleared' });
    expect(rejected).toMatchObject({ kind: 'trusted' });
    const again = from(rejected, ...[20_000, 20_001, 20_002].map((at) => timedOut(at)));
    expect(from(again, checked(37_499)).kind).toBe('suspected');
    expect(from(again, checked(37_500)).kind).toBe('probed');
  });
});

describe('call timeouts', () => {
  it('discards call timeouts if the event loop was delayed', () => {
    expect(after(...TIMEOUTS, checked(4_000, { late: true }))).toMatchObject({ kind: 'trusted' });
  });

  it('discards call timeouts if no probe starts within 67.5 s (7.5 s of silence plus one minute) after the last timeout', () => {
    const two = [timedOut(0), timedOut(10)];
    expect(after(...two, checked(67_509)).kind).toBe('suspected');
    expect(after(...two, checked(67_510))).toMatchObject({ kind: 'trusted' });
  });
});

describe('any sequence of events', () => {
  const events = fc.array(
    fc.record({
      gapMs: fc.integer({ min: 1, max: 9_000 }),
      kind: fc.constantFrom('timed-out', 'check', 'check', 'check'),
      waitedMs: fc.integer({ min: 1, max: 3_000 }),
      byteDraw: fc.integer({ min: 0, max: 19 }),
      late: fc.integer({ min: 0, max: 9 }),
      otherReady: fc.boolean(),
    }),
    { maxLength: 80 },
  );

  it('marks a connection as abandoned only after three timeouts, 10 s of silence, a PING, and 0.5 s with another connection READY', () => {
    fc.assert(
      fc.property(events, fc.double({ min: 0, max: 0.999, noNaN: true }), (steps, random) => {
        let state = NOT_SUSPECTED;
        let [at, bytesRead, lastByteAt, readyAt] = [0, 0, 0, Infinity];
        let pinged = false;
        for (const step of steps) {
          at += step.gapMs;
          if (step.byteDraw === 0) [bytesRead, lastByteAt] = [bytesRead + 1, at];
          if (step.kind === 'timed-out') {
            state = nextSuspicion(state, timedOut(at, step.waitedMs, bytesRead), () => random);
            continue;
          }
          readyAt = step.otherReady ? Math.min(readyAt, at) : Infinity;
          const event = checked(at, { bytesRead, late: step.late === 0, otherReady: step.otherReady });
          state = nextSuspicion(state, event, () => random);
          pinged ||= state.kind === 'pinged';
          if (state.kind !== 'abandoned') continue;
          expect(at - lastByteAt).toBeGreaterThanOrEqual(POLICY.silenceMs + POLICY.probeMs);
          expect(state.evidence.timeouts).toBeGreaterThanOrEqual(POLICY.timeouts);
          expect(at - readyAt).toBeGreaterThanOrEqual(POLICY.confirmMs);
          expect(pinged).toBe(true);
          return;
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

const MINUTE_MS = 60_000;

describe('decideReplacement', () => {
  it.each<[string, Replacements, number, Replacements]>([
    ['allows the first replacement of a connection', [], 0, [0]],
    ['allows a third replacement of a connection', [0, MINUTE_MS], 2 * MINUTE_MS, [0, MINUTE_MS, 2 * MINUTE_MS]],
    [
      'allows another replacement ten minutes after the first of three',
      [0, MINUTE_MS, 2 * MINUTE_MS],
      10 * MINUTE_MS,
      [MINUTE_MS, 2 * MINUTE_MS, 10 * MINUTE_MS],
    ],
    [
      'counts replacements of connections within ten seconds as one',
      [0, MINUTE_MS, 2 * MINUTE_MS],
      2 * MINUTE_MS + 9_999,
      [0, MINUTE_MS, 2 * MINUTE_MS],
    ],
  ])('%s', (_, past, now, replacements) => {
    expect(decideReplacement(past, now)).toEqual({ replace: true, replacements });
  });

  it.each<[string, number]>([
    ['ten seconds after the third', 2 * MINUTE_MS + 10_000],
    ['until ten minutes after the first', 10 * MINUTE_MS - 1],
  ])('refuses a fourth replacement of a connection %s', (_, now) => {
    const past = [0, MINUTE_MS, 2 * MINUTE_MS];
    expect(decideReplacement(past, now)).toEqual({ replace: false, replacements: past });
  });
});
