import { describe, expect, it } from 'vitest';
import { breaksOf, ByKind, outagesOf, whyVoid, type EndedConnection, type Outage, type Run } from './judge.js';
import { CLIENTS, drawCalls, drawSchedule, kindOf, shrink, SIDES, type Fault, type Schedule } from './schedule.js';
import { drawSimulated, simulateSchedule } from './simulated-run.js';

const KILL: Fault = { kind: 'kill', atMs: 2_000, forMs: 1_000, on: [0] };
const REFUSE: Fault = { kind: 'refuse', atMs: 6_000, forMs: 1_000, on: [0] };
const SCHEDULE = drawSchedule(1, { ...{ seconds: 10, rate: 10, server: 'ours' }, faults: [KILL, REFUSE] });
const CALLS = drawCalls(SCHEDULE);

const SPANS = [KILL, REFUSE].map(({ atMs, forMs }) => ({ fromMs: atMs, returnMs: atMs + forMs }));

/** No call ends during a fault and the `delayMs` after it. */
function lateEnd(atMs: number, delayMs: number): number {
  const span = SPANS.find(({ fromMs, returnMs }) => atMs >= fromMs && atMs < returnMs + delayMs);
  return span === undefined ? atMs : span.returnMs + delayMs;
}

/** A run in which the first `failed` calls of each side after the kill fail, and ours succeed again `delayMs` after a fault. */
function runOf(failed: Record<'ours' | 'theirs', number>, more: Partial<Run> & { delayMs?: number } = {}): Run {
  const { delayMs = 0, ...given } = more;
  const after = CALLS.filter(({ atMs }) => atMs >= KILL.atMs).map(({ id }) => id);
  const endedOf = (side: 'ours' | 'theirs') => {
    const failedIds = new Set(after.slice(0, failed[side]));
    return CALLS.map(({ id, atMs }) => ({
      endMs: side === 'ours' ? lateEnd(atMs, delayMs) : atMs,
      code: failedIds.has(id) ? 14 : 0,
    }));
  };
  return {
    ...{ schedule: SCHEDULE, calls: CALLS, ended: { ours: endedOf('ours'), theirs: endedOf('theirs') } },
    spans: SPANS,
    ...{ writes: ['ours 1', 'theirs 1'], connections: [], lateMs: { ours: 1, theirs: 1 } },
    ...given,
  };
}

describe('breaksOf', () => {
  const ended: EndedConnection = { side: 'ours', by: 'client', atMs: 1, livedMs: 9_000, silentMs: 100 };

  it.each([
    ['nothing if ours fail as many calls as theirs', runOf({ ours: 100, theirs: 100 }), []],
    [
      'an outage with a tenth and 2 calls per client more',
      runOf({ ours: 117, theirs: 100 }),
      ['failed calls, kill', 'failed calls'],
    ],
    ['nothing if it is one call per client', runOf({ ours: 108, theirs: 100 }), []],
    ['a schedule with more', runOf({ ours: 109, theirs: 100 }), ['failed calls']],
    [
      'a first success that comes later',
      runOf({ ours: 0, theirs: 0 }, { delayMs: 1_500 }),
      ['first', 'last', 'first', 'last'],
    ],
    ['a write that was received twice', runOf({ ours: 0, theirs: 0 }, { writes: ['ours 1', 'ours 1'] }), ['writes']],
    ['nothing if theirs is received twice', runOf({ ours: 0, theirs: 0 }, { writes: ['theirs 1', 'theirs 1'] }), []],
    [
      'a connection that ended while bytes arrived',
      runOf({ ours: 0, theirs: 0 }, { connections: [ended] }),
      ['connections'],
    ],
    [
      'nothing if a connection ended in silence, or by theirs',
      runOf(
        { ours: 0, theirs: 0 },
        {
          connections: [
            { ...ended, silentMs: 5_000 },
            { ...ended, side: 'theirs' },
          ],
        },
      ),
      [],
    ],
    [
      'a connection of theirs that our server ended while bytes arrived',
      runOf({ ours: 0, theirs: 0 }, { connections: [{ ...ended, side: 'theirs', by: 'server' }] }),
      ['connections'],
    ],
  ])('reports %s', (_, run, expected) => {
    const found = breaksOf(run).map(({ what }) => what);
    expect(found.map((what, index) => what.slice(0, expected[index]?.length))).toEqual(expected);
  });

  it('judges only counts, with the tolerance of an outage, if times are not judged', () => {
    expect(breaksOf(runOf({ ours: 116, theirs: 100 }, { delayMs: 1_500 }), false)).toEqual([]);
    expect(breaksOf(runOf({ ours: 117, theirs: 100 }), false)).toHaveLength(2);
  });
});

it('counts a call in the outage in whose span it started, however late it ended', () => {
  const run = runOf({ ours: 3, theirs: 0 });
  const late = run.ended.ours.map((end) => (end.code === 0 ? end : { ...end, endMs: 9_000 }));
  expect(outagesOf({ ...run, ended: { ...run.ended, ours: late } }).map(({ failed }) => failed.ours)).toEqual([3, 0]);
});

it('counts a client without a success until the next fault as late as that', () => {
  const { firstMs } = outagesOf(runOf({ ours: CALLS.length, theirs: 0 }))[0] ?? {};
  expect(firstMs?.ours).toBe(REFUSE.atMs - KILL.atMs - KILL.forMs);
});

it('voids a run whose event loop was late on either side', () => {
  expect(whyVoid(runOf({ ours: 0, theirs: 0 }))).toBeUndefined();
  expect(whyVoid(runOf({ ours: 0, theirs: 0 }, { lateMs: { ours: 1, theirs: 51 } }))).toContain('theirs');
});

describe('ByKind', () => {
  const sumOf = (pairs: readonly (readonly [ours: number, theirs: number])[]) => {
    const byKind = new ByKind();
    for (const [ours, theirs] of pairs) byKind.add(runOf({ ours, theirs }));
    return byKind;
  };

  it('sums the failures of each kind of fault', () => {
    const { count, failed } = sumOf(Array.from({ length: 10 }, () => [12, 10] as const)).kinds.get('kill') ?? {};
    expect([count, failed]).toEqual([10, { ours: 120, theirs: 100 }]);
  });

  it('reports a kind of which ours fail more again and again, however little', () => {
    expect(sumOf(Array.from({ length: 10 }, () => [12, 10] as const)).breaks()).toMatchObject([
      { ours: 120, theirs: 100 },
    ]);
  });

  it('reports nothing if ours fail more by chance', () => {
    const pairs = Array.from({ length: 10 }, (_, index) =>
      index % 3 === 0 ? ([10, 16] as const) : ([14, 10] as const),
    );
    expect(sumOf(pairs).kinds.get('kill')?.failed).toEqual({ ours: 124, theirs: 124 });
    expect(sumOf([...pairs, [14, 10]]).breaks()).toEqual([]);
  });
});

describe('drawSchedule', () => {
  const hour = Array.from({ length: 40 }, (_, seed) => drawSchedule(seed));

  it('draws the same schedule and calls from the same seed', () => {
    expect(drawSchedule(7)).toEqual(drawSchedule(7));
    expect(drawCalls(drawSchedule(7))).toEqual(drawCalls(drawSchedule(7)));
  });

  it('keeps faults apart, within the schedule, and off single servers that only one side may use', () => {
    for (const { faults, seconds, servers, roundRobin } of hour)
      for (const [index, { kind, atMs, forMs, everyMs = 0, on }] of faults.entries()) {
        // Also connections that were begun at the end of a slow fault are there for a second before the next one.
        const slowMs = kind === 'slow' ? everyMs : 0;
        expect((faults[index + 1]?.atMs ?? seconds * 1_000) - atMs - forMs - slowMs).toBeGreaterThanOrEqual(999);
        if (!roundRobin) expect(on).toHaveLength(servers);
      }
  });

  it('freezes one of several servers only when the clients of both sides have reconnected to it', () => {
    for (const { faults, servers } of Array.from({ length: 200 }, (_, seed) => drawSchedule(seed)))
      for (const [index, { kind, atMs, on }] of faults.entries()) {
        if (kind !== 'freeze' || on.length === servers) continue;
        // gRPC's backoff of 1 s grows by 1.6, so it is at most 60% of the time away longer, and 20% of jitter.
        for (const before of faults.slice(0, index))
          expect(atMs - before.atMs - before.forMs).toBeGreaterThan(1_500 + 0.7 * before.forMs);
      }
  });

  it('draws each kind of fault at least 10 times in an hour', () => {
    const kinds = hour.flatMap(({ faults }) => faults.map(kindOf));
    expect(new Set(kinds).size).toBe(10);
    for (const kind of kinds) expect(kinds.filter((other) => other === kind).length, kind).toBeGreaterThanOrEqual(10);
    expect(hour.filter(({ line }) => line).length).toBeGreaterThanOrEqual(10);
  });

  it('gives each client its rate, in the order of starts', () => {
    expect(CALLS).toHaveLength(CLIENTS * SCHEDULE.rate * SCHEDULE.seconds);
    expect(CALLS.map(({ atMs }) => atMs)).toEqual(CALLS.map(({ atMs }) => atMs).sort((a, b) => a - b));
  });
});

describe('in virtual time', () => {
  const KILLS: Schedule = drawSimulated(1, {
    ...{ seconds: 20, rate: 10, waits: true, deadlineMs: [5_000, 5_000] },
    faults: [{ kind: 'kill', atMs: 5_000, forMs: 2_000, on: [0] }],
  });

  it("fails plain clients' calls until they reconnect, and lets ours wait", () => {
    const run = simulateSchedule(KILLS);
    const [{ failed, firstMs }] = outagesOf(run) as [Outage];
    // Plain clients try again after 1 s, and after 1.28 to 1.92 s more.
    expect(failed.theirs).toBeGreaterThan(CLIENTS * 10 * 2);
    expect(failed.theirs).toBeLessThan(CLIENTS * 10 * 3);
    expect(failed.ours).toBeLessThan(CLIENTS);
    expect(firstMs.ours).toBeLessThan(500);
  });

  it('ends every call, and repeats itself with the same seed', () => {
    const run = simulateSchedule(KILLS);
    for (const side of SIDES) expect(run.ended[side].filter(Boolean)).toHaveLength(run.calls.length);
    expect(simulateSchedule(KILLS).ended).toEqual(run.ended);
  });

  it.each([1, 2, 3, 4, 5])('keeps the bounds in the schedules of seed %i', (seed) => {
    for (let index = 0; index < 4; index += 1)
      expect(breaksOf(simulateSchedule(drawSimulated(seed * 100 + index, { rate: 10 })))).toEqual([]);
  });
});

it('shrinks a schedule to the faults and seconds that it needs to break', async () => {
  const drawn = drawSchedule(3, { line: { bytesPerSecond: 50_000, delayMs: 5 }, servers: 2 });
  const breaks = (schedule: Schedule) => Promise.resolve(schedule.faults.some(({ kind }) => kind === 'kill'));
  const smallest = await shrink({ ...drawn, faults: [REFUSE, { ...KILL, atMs: 20_000 }, REFUSE] }, breaks);
  expect(smallest).toMatchObject({ servers: 1, seconds: 7, faults: [{ ...KILL, atMs: 1_000 }] });
  expect(smallest.line).toBeUndefined();
});
