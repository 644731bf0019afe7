import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { nextSuspicion } from './next-suspicion.js';
import { DEFAULT_SUSPICION_POLICY as POLICY } from './suspicion-policy.js';
import { NOT_SUSPECTED, type SuspicionEvent, type SuspicionState } from './suspicion-state.js';

const BYTES = 1_000;
/** Half of the 5 s of spread. */
const middle = () => 0.5;

const timedOut = (at: number, waitedMs = 1_000, bytesRead = BYTES): SuspicionEvent => ({
  type: 'timed-out',
  at,
  bytesRead,
  waitedMs,
});
type Look = Extract<SuspicionEvent, { type: 'look' }>;
const look = (at: number, change: Partial<Look> = {}): SuspicionEvent => ({
  type: 'look',
  at,
  bytesRead: BYTES,
  late: false,
  otherReady: false,
  ...change,
});
const heard = { bytesRead: BYTES + 1 };

function after(...events: readonly SuspicionEvent[]): SuspicionState {
  return from(NOT_SUSPECTED, ...events);
}
function from(state: SuspicionState, ...events: readonly SuspicionEvent[]): SuspicionState {
  return events.reduce((before, event) => nextSuspicion(before, event, POLICY, middle), state);
}

/** Three calls of 1 s timed out, the first at 0: asked from 7 500 on. */
const THREE = [timedOut(0), timedOut(10), timedOut(20)];
const PROBED = [...THREE, look(7_500)];
const DEAD = [...PROBED, look(10_000), look(12_500)];
const REPLACEABLE = [...DEAD, look(13_000, { otherReady: true })];

describe('a connection is asked', () => {
  it.each<[string, boolean, SuspicionEvent[]]>([
    ['when three calls timed out and it was silent for 5 s and its part of the spread', true, PROBED],
    ['not a moment earlier', false, [...THREE, look(7_499)]],
    ['whenever that is', false, [100_000, 100_010, 100_020].map((at) => timedOut(at)).concat(look(107_499))],
    ['not for two calls', false, [timedOut(0), timedOut(10), look(60_000)]],
    ['not while nobody timed out, however silent it is', false, [look(1_000_000)]],
    [
      'after twice the longest call, where that is longer',
      true,
      [timedOut(0, 9_000), timedOut(10), timedOut(20), look(20_500)],
    ],
    ['not before that', false, [timedOut(0, 9_000), timedOut(10), timedOut(20), look(20_499)]],
    [
      'also when the calls come one after another',
      true,
      [0, 6_000, 12_000, 13_000].map((at) => timedOut(at, 6_000)).concat(look(14_500)),
    ],
    ['not when a byte came', false, [...THREE, look(7_500, heard)]],
    [
      'not when a byte came between the calls',
      false,
      [timedOut(0), timedOut(10, 1_000, 900), timedOut(20), look(7_500)],
    ],
    ['not when our own event loop was late meanwhile', false, [...THREE, look(4_000, { late: true }), look(7_500)]],
    ['nor when it is late at the very look that would', false, [...THREE, look(7_500, { late: true })]],
  ])('%s', (_, asked, events) => {
    expect(after(...events).kind === 'probed').toBe(asked);
  });

  it('later or earlier than others, by chance', () => {
    const at = (random: number) => {
      const state = THREE.reduce((before, event) => nextSuspicion(before, event, POLICY, () => random), NOT_SUSPECTED);
      return [5_000, 10_000].map((ms) => nextSuspicion(state, look(ms), POLICY, () => random).kind);
    };
    expect(at(0)).toEqual(['probed', 'probed']);
    expect(at(0.999_9)).toEqual(['suspected', 'probed']);
  });

  it('at most each 30 s', () => {
    const acquitted = from(after(...PROBED), look(8_000, heard));
    expect(acquitted).toMatchObject({ kind: 'trusted', because: 'heard', probes: { nextAt: 37_500 } });
    const again = from(acquitted, ...[9_000, 9_010, 9_020].map((at) => timedOut(at, 1_000, BYTES + 1)));
    expect(from(again, look(37_499, heard)).kind).toBe('suspected');
    expect(from(again, look(37_500, heard)).kind).toBe('probed');
  });
});

describe('a probe', () => {
  it('is followed by a PING after half of its time', () => {
    expect(after(...PROBED, look(9_999)).kind).toBe('probed');
    expect(after(...PROBED, look(10_000)).kind).toBe('pinged');
  });

  it('has failed when that had as much, and no byte came', () => {
    expect(after(...PROBED, look(10_000), look(12_499)).kind).toBe('pinged');
    expect(after(...DEAD).kind).toBe('dead');
    expect(after(...PROBED, look(11_000), look(13_499)).kind).toBe('pinged');
    expect(after(...PROBED, look(11_000), look(13_500)).kind).toBe('dead');
  });

  it.each([
    ['a byte', look(12_499, heard)],
    ['a byte that a call finds that times out', timedOut(12_499, 1_000, BYTES + 1)],
  ])('has succeeded with %s', (_, event) => {
    expect(after(...PROBED, event).kind).toMatch(/trusted|suspected/);
    expect(after(...PROBED, look(10_000), event).kind).toMatch(/trusted|suspected/);
  });

  it('has its time again when our own event loop was late', () => {
    const beforePing = [...PROBED, look(10_000, { late: true })];
    expect(after(...beforePing, look(12_499)).kind).toBe('probed');
    expect(after(...beforePing, look(12_500)).kind).toBe('pinged');
    const afterPing = [...PROBED, look(10_000), look(12_500, { late: true })];
    expect(after(...afterPing, look(14_999)).kind).toBe('pinged');
    expect(after(...afterPing, look(15_000)).kind).toBe('dead');
  });

  it('is followed by the next after 30 s, and once two PINGs were sent, after 5 min', () => {
    const probe = (state: SuspicionState, at: number) =>
      from(
        state,
        ...[0, 1, 2].map((ms) => timedOut(at - 7_500 + ms)),
        look(at),
        look(at + 2_500),
        look(at + 3_000, heard),
      );
    const once = probe(NOT_SUSPECTED, 100_000);
    expect(once.probes).toEqual({ pings: 1, nextAt: 130_000 });
    const twice = probe(once, 200_000);
    expect(twice.probes).toEqual({ pings: 2, nextAt: 502_500 });
    expect(from(twice, ...THREE.map((_, i) => timedOut(490_000 + i)), look(502_499)).kind).toBe('suspected');
  });
});

describe('a dead connection', () => {
  it('waits until another is READY, for as long as that takes', () => {
    expect(after(...DEAD, look(1_000_000)).kind).toBe('dead');
    expect(after(...REPLACEABLE).kind).toBe('replaceable');
  });

  it('is given up when it is still silent half a second after that', () => {
    expect(after(...REPLACEABLE, look(13_499, { otherReady: true })).kind).toBe('replaceable');
    expect(after(...REPLACEABLE, look(13_500, { otherReady: true })).kind).toBe('given-up');
  });

  it('stays given up at later checks', () => {
    const givenUp = after(...REPLACEABLE, look(13_500, { otherReady: true }));
    expect(from(givenUp, look(14_000, { otherReady: true }), look(15_000, { late: true }))).toBe(givenUp);
  });

  it('is not when the other has gone again', () => {
    expect(after(...REPLACEABLE, look(13_500)).kind).toBe('dead');
  });

  it('is not at a look that came late', () => {
    const late = after(...REPLACEABLE, look(14_000, { otherReady: true, late: true }));
    expect(late).toMatchObject({ kind: 'replaceable', endsAt: 14_500 });
  });

  it.each([
    ['that waits', DEAD],
    ['that is about to be replaced', REPLACEABLE],
  ])('%s is acquitted by a byte', (_, events) => {
    expect(after(...events, look(13_500, { otherReady: true, ...heard }))).toMatchObject({
      kind: 'trusted',
      because: 'heard',
    });
    expect(after(...events, timedOut(13_500, 1_000, BYTES + 1)).kind).toBe('suspected');
  });

  it('counts the calls that time out on it meanwhile', () => {
    expect(after(...DEAD, timedOut(12_600), timedOut(12_700, 2_000))).toMatchObject({
      kind: 'dead',
      silence: { since: 0, timeouts: 5, longestMs: 2_000, lastTimeoutAt: 12_700 },
    });
  });

  it('is left alone when its replacement is refused, and asked again in its time', () => {
    const spared = after(...DEAD, { type: 'spared' });
    expect(spared).toMatchObject({ kind: 'trusted', because: 'too-many' });
    const again = from(spared, ...[20_000, 20_001, 20_002].map((at) => timedOut(at)));
    expect(from(again, look(37_499)).kind).toBe('suspected');
    expect(from(again, look(37_500)).kind).toBe('probed');
  });
});

describe('calls that timed out', () => {
  it('are nothing against a connection once our own event loop was late', () => {
    expect(after(...THREE, look(4_000, { late: true }))).toMatchObject({ kind: 'trusted', because: 'own-delay' });
  });

  it('are forgotten a minute after the silence they ask for', () => {
    const two = [timedOut(0), timedOut(10)];
    expect(after(...two, look(67_509)).kind).toBe('suspected');
    expect(after(...two, look(67_510))).toMatchObject({ kind: 'trusted', because: 'forgotten' });
  });
});

describe('whatever happens', () => {
  const events = fc.array(
    fc.record({
      gapMs: fc.integer({ min: 1, max: 9_000 }),
      kind: fc.constantFrom('timed-out', 'look', 'look', 'look'),
      waitedMs: fc.integer({ min: 1, max: 3_000 }),
      hears: fc.integer({ min: 0, max: 19 }),
      late: fc.integer({ min: 0, max: 9 }),
      otherReady: fc.boolean(),
    }),
    { maxLength: 80 },
  );

  it('a connection is given up only when silent for 10 s, asked in two ways, and another was READY for half a second', () => {
    fc.assert(
      fc.property(events, fc.double({ min: 0, max: 0.999, noNaN: true }), (steps, random) => {
        let state = NOT_SUSPECTED;
        let [at, bytesRead, heardAt, readyAt] = [0, 0, 0, Infinity];
        let pinged = false;
        for (const step of steps) {
          at += step.gapMs;
          if (step.hears === 0) [bytesRead, heardAt] = [bytesRead + 1, at];
          if (step.kind === 'timed-out') {
            state = nextSuspicion(state, timedOut(at, step.waitedMs, bytesRead), POLICY, () => random);
            continue;
          }
          readyAt = step.otherReady ? Math.min(readyAt, at) : Infinity;
          const event = look(at, { bytesRead, late: step.late === 0, otherReady: step.otherReady });
          state = nextSuspicion(state, event, POLICY, () => random);
          pinged ||= state.kind === 'pinged';
          if (state.kind !== 'given-up') continue;
          expect(at - heardAt).toBeGreaterThanOrEqual(POLICY.silenceMs + POLICY.probeMs);
          expect(state.silence.timeouts).toBeGreaterThanOrEqual(POLICY.timeouts);
          expect(at - readyAt).toBeGreaterThanOrEqual(POLICY.confirmMs);
          expect(pinged).toBe(true);
          return;
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
