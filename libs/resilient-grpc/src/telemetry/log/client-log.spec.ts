import { describe, expect, it } from 'vitest';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import { ClientLog, type OutageImpact } from './client-log.js';
import type { EventFields, LogSink } from './log-line.js';

const DOCTOR = 'npx nestjs-resilient-grpc doctor 10.0.0.7:50051';

function make({ debug = true } = {}) {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const fields: EventFields[] = [];
  const calls = { isConnected: false, waiting: 0, awaitsReady: false, failed: 0 };
  const write: LogSink['write'] = (level, text, own) => {
    lines.push(`${level} ${text}`);
    fields.push(own);
  };
  const impact = (): OutageImpact => calls;
  const client = { target: '10.0.0.7:50051', doctorCommand: DOCTOR, impact };
  const log = new ClientLog({ write, isDebugEnabled: debug }, client, clock);
  const take = (body: EventBody) => log.take({ client: 'orders', at: clock.epoch(), ...body });
  const aboveDebug = () => lines.filter((line) => !line.startsWith('debug '));
  return { clock, lines, fields, calls, log, take, aboveDebug };
}

const OUTAGE = {
  type: 'outage-start',
  cause: 'connect ECONNREFUSED 10.0.0.7:50051',
  graceMs: 5_100,
  flapping: false,
} as const;
const GRACE_OVER = { type: 'outage-grace-over', durationMs: 0 } as const;
const END = {
  type: 'outage-end',
  durationMs: 7_300,
  connectAttempts: 9,
  waitedCalls: 12,
  abandonedCalls: 0,
  failedCalls: 3,
} as const;

const makeAttemptEnd = (change: Partial<Extract<EventBody, { type: 'attempt-end' }>> = {}) =>
  ({
    type: 'attempt-end',
    path: '/orders.v1.Orders/Create',
    attempt: { number: 1, code: 14, details: 'Connection lost after sending', durationMs: 5, superseded: false },
    reachedServer: 'maybe',
    next: 'none',
    reason: 'not-safe-to-repeat',
    ...change,
  }) as const;

const CIRCUIT = {
  type: 'circuit',
  reason: 'too-many-failures',
  failures: 11,
  total: 20,
  breakMs: 5_000,
} as const;

describe('outage', () => {
  it('logs an outage of less than a second only at debug', () => {
    const { clock, calls, take, aboveDebug, lines } = make();
    calls.waiting = 5;
    take(OUTAGE);
    clock.advance(990);
    take({ ...END, durationMs: 990 });
    clock.advance(120_000);
    expect(aboveDebug()).toEqual([]);
    expect(lines.length).toBeGreaterThan(0);
  });

  it('logs a warning while calls wait, a warning when the grace period ends, and the end of the outage', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 12;
    take(OUTAGE);
    clock.advance(5_000);
    expect(aboveDebug()).toEqual([
      'warn outage: connect ECONNREFUSED 10.0.0.7:50051; calls wait up to 5.1 s or until their deadline (12 waiting); ' +
        `to diagnose, run: ${DOCTOR}`,
    ]);
    clock.advance(100);
    expect(aboveDebug().slice(1)).toEqual([
      'warn outage has lasted 5.1 s: connect ECONNREFUSED 10.0.0.7:50051; calls without waitForReady fail immediately (UNAVAILABLE); ' +
        `check the server; the client keeps trying to reconnect; to diagnose, run: ${DOCTOR}`,
    ]);
    clock.advance(60_000);
    take(END);
    expect(aboveDebug().slice(2)).toEqual([
      'log reconnected after 7.3 s, 9 failed attempts; 12 calls waited, 3 failed',
    ]);
  });

  it('writes each outage line once even if a timer fires early', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 12;
    take({ ...OUTAGE, graceMs: 5_100.6 });
    clock.advance(2_000);
    const now = clock.now.bind(clock);
    clock.now = () => now() - 3;
    clock.advance(8_000);
    expect(aboveDebug().map((line) => line.slice(0, 19))).toEqual(['warn outage: connec', 'warn outage has las']);
  });

  it('delays the grace period warning until a call fails, if the channel is READY when the grace period ends', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 12;
    take(OUTAGE);
    clock.advance(5_000);
    calls.isConnected = true;
    clock.advance(3_000);
    expect(aboveDebug()).toEqual([expect.stringMatching(/^warn outage: /)]);
    take(GRACE_OVER);
    expect(aboveDebug()).toEqual([expect.anything(), expect.stringMatching(/^warn outage has lasted 8 s: /)]);
  });

  it('logs no grace period warning for an outage that ends within the grace period', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 12;
    take(OUTAGE);
    clock.advance(5_000);
    take({ ...END, durationMs: 5_000, failedCalls: 0 });
    clock.advance(60_000);
    expect(aboveDebug().slice(1)).toEqual(['log reconnected after 5 s, 9 failed attempts; 12 calls waited, 0 failed']);
  });

  it('logs no warning about an outage until a call waits or fails', () => {
    const { clock, calls, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(60_000);
    expect(aboveDebug()).toEqual([]);
    calls.waiting = 1;
    clock.advance(5_000);
    expect(aboveDebug()).toHaveLength(1);
  });

  it('writes exactly one warning when a call fails because the grace period has ended, even if no call is counted as waiting or failed yet', () => {
    const { clock, calls, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(7_000);
    expect(aboveDebug()).toEqual([]);
    take(GRACE_OVER);
    expect(aboveDebug()).toEqual([expect.stringMatching(/^warn outage has lasted 7 s: /)]);
    calls.failed = 3;
    clock.advance(60_000);
    expect(aboveDebug()).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it('logs an outage without a grace period only when the outage is 1.5 s old, even if a call fails earlier', () => {
    const { clock, take, aboveDebug } = make();
    take({ ...OUTAGE, graceMs: 0 });
    take(GRACE_OVER);
    clock.advance(1_490);
    expect(aboveDebug()).toEqual([]);
    clock.advance(10);
    expect(aboveDebug()).toEqual([expect.stringMatching(/^warn outage has lasted 1.5 s: /)]);
  });

  it('logs nothing above debug for an outage that affects no call', () => {
    const { clock, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(30_000);
    take({ ...END, waitedCalls: 0, failedCalls: 0 });
    clock.advance(120_000);
    expect(aboveDebug()).toEqual([]);
  });

  it('logs an outage in which calls fail and none is waiting', () => {
    const { clock, calls, take, aboveDebug } = make();
    take(OUTAGE);
    calls.failed = 8;
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([
      `warn outage: connect ECONNREFUSED 10.0.0.7:50051; 8 calls failed, and none is waiting; to diagnose, run: ${DOCTOR}`,
    ]);
  });

  it('logs an outage without a grace period only after a call fails during the outage, and then logs its end', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.failed = 7;
    take({ ...OUTAGE, graceMs: 0 });
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([]);
    calls.failed = 8;
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([
      expect.stringMatching(/^warn outage has lasted 3 s: .*calls without waitForReady fail immediately/),
    ]);
    take(END);
    expect(aboveDebug()[1]).toMatch(/^log reconnected after/);
  });

  it('logs an outage in which only waitForReady() is waiting', () => {
    const { clock, calls, fields, take, aboveDebug } = make();
    take(OUTAGE);
    calls.awaitsReady = true;
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([expect.stringMatching(/; only waitForReady\(\) is waiting;/)]);
    expect(fields.at(-1)).toMatchObject({ event: 'outage', waiting: 0, failed: 0 });
  });

  it('logs one outage warning if the first call fails long after the grace period', () => {
    const { clock, calls, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(3_600_000);
    calls.failed = 1;
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([expect.stringMatching(/^warn outage has lasted 360\d s: /)]);
    clock.advance(3_600_000);
    expect(aboveDebug()).toHaveLength(1);
  });

  it('logs the end of an outage in which calls failed, even if the outage caused no warning', () => {
    const { clock, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(2_000);
    take({ ...END, durationMs: 2_000 });
    expect(aboveDebug()).toEqual(['log reconnected after 2 s, 9 failed attempts; 12 calls waited, 3 failed']);
  });

  it('logs the end of an outage in which waiting calls timed out or were cancelled, even if the outage caused no warning', () => {
    const { clock, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(2_000);
    take({ ...END, durationMs: 2_000, abandonedCalls: 2, failedCalls: 0 });
    expect(aboveDebug()).toEqual([
      'log reconnected after 2 s, 9 failed attempts; 12 calls waited, 2 timed out or were cancelled, 0 failed',
    ]);
  });

  it('logs a second outage within a minute only twice: when its grace period ends, and when the outage ends', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    take(OUTAGE);
    clock.advance(3_000);
    take({ ...END, durationMs: 3_000 });
    expect(aboveDebug().map((line) => line.slice(0, 15))).toEqual(['warn outage: co', 'log reconnected']);
    clock.advance(1_500);
    take(OUTAGE);
    clock.advance(5_099);
    expect(aboveDebug()).toHaveLength(2);
    clock.advance(1);
    expect(aboveDebug()[2]).toMatch(/^warn outage has lasted 5.1 s: .*; calls without waitForReady fail immediately/);
    clock.advance(9_000);
    take({ ...END, durationMs: 14_100 });
    expect(aboveDebug().slice(3)).toEqual([
      'log reconnected after 14.1 s, 9 failed attempts; 12 calls waited, 3 failed',
    ]);
  });
});

describe('flapping server', () => {
  it('logs flapping once, then once a minute with the numbers of outages and calls', () => {
    const { clock, calls, take, aboveDebug, fields } = make();
    calls.waiting = 1;
    take(OUTAGE);
    for (let second = 0; second < 150; second++) {
      take({ ...OUTAGE, flapping: true });
      clock.advance(500);
      take({ ...END, durationMs: 500 });
      clock.advance(500);
    }
    expect(aboveDebug()).toEqual([
      expect.stringMatching(
        /^warn flapping: 3 outages in a minute \(.*\(0 calls waited, 0 failed\); check whether .*connections$/,
      ),
      expect.stringMatching(
        /^warn flapping: 62 outages in a row \(.*\(708 calls waited, 177 failed\); .*\(59 more in the last minute/,
      ),
      expect.stringMatching(
        /^warn flapping: 122 outages in a row \(.*\(1428 calls waited, 357 failed\); .*\(60 more in the last/,
      ),
    ]);
    expect(fields.at(-2)).toMatchObject({ event: 'outage-start', flapping: true, graceMs: 5_100 });
    clock.advance(600_000);
    expect(aboveDebug()).toHaveLength(4);
    expect(clock.pending).toBe(0);
    take(OUTAGE);
    take({ ...OUTAGE, flapping: true });
    expect(aboveDebug()[4]).toBe(aboveDebug()[0]);
  });

  it('logs an outage and its end if a flapping server stays down for a minute', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, flapping: true, graceMs: 3_000 });
    clock.advance(3_000);
    take(GRACE_OVER);
    clock.advance(56_999);
    expect(aboveDebug()).toHaveLength(1);
    clock.advance(1);
    expect(aboveDebug()[1]).toMatch(/^warn outage has lasted 60 s: .*; calls without waitForReady fail immediately/);
    clock.advance(600_000);
    take({ ...END, durationMs: 660_000 });
    expect(aboveDebug().slice(2)).toEqual([
      'log reconnected after 660 s, 9 failed attempts; 12 calls waited, 3 failed',
    ]);
  });
});

describe('recurring outages', () => {
  /** Returns the maximum number of lines written within any 60 s. */
  function maxLinesPerMinute(times: readonly number[]) {
    return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + 60_000).length));
  }

  /** Simulates recurring outages in which calls fail and circuits open. Returns the lines above debug and the number of outages. */
  function simulateOutages(downMs: number, upMs: number) {
    const { clock, calls, take, log, lines, fields } = make();
    const written: { readonly at: number; readonly event: unknown }[] = [];
    const ended: number[] = [];
    const record = (task: () => void) => {
      const before = lines.length;
      task();
      for (const [index, { event }] of fields.entries())
        if (index >= before && !lines[index]!.startsWith('debug ')) written.push({ at: clock.now(), event });
    };
    // Small steps, so that the recorded time of each line is at most 100 ms late.
    const pass = (ms: number) => {
      for (let rest = ms; rest > 0; rest -= 100) record(() => clock.advance(Math.min(rest, 100)));
    };
    const paths = ['/a.A/Create', '/a.A/Pay', '/a.A/Ship'];
    calls.waiting = 3;
    while (clock.now() < 400_000) {
      for (const path of paths)
        for (const reason of ['not-safe-to-repeat', 'throttled'] as const)
          record(() => take(makeAttemptEnd({ path, reason })));
      const flapping = ended.filter((at) => clock.now() - at < 60_000).length >= 2;
      record(() => take({ ...OUTAGE, flapping, graceMs: flapping ? 0 : 5_000 }));
      pass(downMs / 2);
      for (const path of paths) record(() => take({ ...CIRCUIT, path, from: 'closed', to: 'open' }));
      pass(downMs / 2);
      // Calls wait during the grace period of 5 s, so no call fails in a shorter outage. Calls do fail during flapping
      // outages, but the number of failed calls does not affect which lines are written.
      record(() => take({ ...END, durationMs: downMs, failedCalls: downMs < 5_000 ? 0 : 3 }));
      ended.push(clock.now());
      pass(upMs);
    }
    log.close();
    expect(clock.pending).toBe(0);
    return { written, outages: ended.length };
  }

  it.each([
    [250, 250],
    [1_600, 400],
    [3_000, 3_000],
    [6_000, 2_000],
    [10_000, 10_000],
    [15_000, 5_000],
    [5, 29_000],
  ])(
    'writes at most four log lines a minute from the third outage on, regardless of other events (down %i ms, up %i ms)',
    (downMs, upMs) => {
      const { written } = simulateOutages(downMs, upMs);
      const flaps = written.slice(written.findIndex(({ event }) => event === 'flapping')).map(({ at }) => at);
      expect(maxLinesPerMinute(flaps)).toBeLessThanOrEqual(4);
      expect(flaps.length).toBeGreaterThan(6);
    },
  );

  it.each([
    [250, 250],
    [1_600, 400],
    [3_000, 3_000],
    [4_900, 100],
    [5, 29_000],
  ])(
    'writes at most four log lines a minute if each outage ends within its grace period (down %i ms, up %i ms)',
    (downMs, upMs) => {
      expect(maxLinesPerMinute(simulateOutages(downMs, upMs).written.map(({ at }) => at))).toBeLessThanOrEqual(4);
    },
  );

  it.each([
    [25_000, 40_000, ['outage', 'outage-grace-over', 'outage-end']],
    [25_000, 25_000, ['outage-grace-over', 'outage-end']],
    [2_000, 60_000, ['outage', 'outage-end']],
  ])(
    'writes the log lines of each infrequent outage and at most one other line a minute (down %i ms, up %i ms, lines %j)',
    (downMs, upMs, lines) => {
      const { written, outages } = simulateOutages(downMs, upMs);
      const outageLines = written.filter(({ event }) => String(event).startsWith('outage'));
      const [first, ...later] = outageLines.map(({ event }) => event);
      expect(first).toBe('outage');
      const expectedEvents = Array.from({ length: outages }, () => lines).flat();
      expect(later).toEqual(lines[0] === 'outage' ? expectedEvents.slice(1) : expectedEvents);
      expect(maxLinesPerMinute(written.filter((line) => !outageLines.includes(line)).map(({ at }) => at))).toBe(1);
    },
  );
});

describe('other lines', () => {
  it('are at most four a minute, or one during the minute after an outage starts or ends', () => {
    const { clock, take, aboveDebug } = make();
    const open = (path: string) => take({ ...CIRCUIT, path, from: 'closed', to: 'open' });
    for (const path of ['/a', '/b', '/c', '/d', '/e']) open(path);
    expect(aboveDebug()).toHaveLength(4);
    clock.advance(120_000);
    expect(aboveDebug()).toHaveLength(5);
    take(OUTAGE);
    take({ ...END, durationMs: 100 });
    for (const path of ['/f', '/g']) open(path);
    expect(aboveDebug()).toHaveLength(6);
  });

  it('about calls that may have had an effect are one line at once, and then one a minute with the methods and reasons', () => {
    const { clock, take, aboveDebug } = make();
    for (let i = 0; i < 50; i++) take(makeAttemptEnd());
    take(makeAttemptEnd({ path: '/orders.v1.Orders/Watch' }));
    take(makeAttemptEnd({ reason: 'throttled' }));
    expect(aboveDebug()).toHaveLength(1);
    clock.advance(60_000);
    expect(aboveDebug().slice(1)).toEqual([
      'warn /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; the call may have reached the server and was not retried ' +
        '(throttled) (50 more in the last minute, the last one 60 s ago: 49 × /orders.v1.Orders/Create (not-safe-to-repeat), ' +
        '/orders.v1.Orders/Watch (not-safe-to-repeat))',
    ]);
  });

  it('about a flapping endpoint are at most one a minute for each change', () => {
    const { clock, fields, take } = make();
    const evidence = { reason: 'consecutive-failures', failures: 5 } as const;
    for (let flaps = 1; flaps <= 4; flaps++) {
      take({ type: 'endpoint', change: 'ejected', address: 'a:1', evidence, forMs: 1_000, ejections: flaps });
      clock.advance(1_000);
      take({ type: 'endpoint', change: 'returned', address: 'a:1', reason: 'expired', ejectedMs: 1_000 });
      clock.advance(1_000);
    }
    expect(fields.map(({ change }) => change)).toEqual(['ejected', 'returned']);
    clock.advance(60_000);
    expect(fields.map(({ change }) => change)).toEqual(['ejected', 'returned', 'returned']);
    expect(fields[2]).toMatchObject({ repeats: 6 });
  });

  it('are not limited if each describes another field that is not sent', () => {
    const { take, aboveDebug } = make();
    for (let i = 0; i < 30; i++)
      take({ type: 'unsent-field', path: '/a', messageType: 'Order', field: `f_${String(i)}`, suggestion: 'f' });
    expect(aboveDebug()).toHaveLength(30);
  });

  it('of level debug are not written if the level is off', () => {
    const { lines, take } = make({ debug: false });
    take({ type: 'connectivity', from: 'READY', to: 'IDLE' });
    take(makeAttemptEnd({ next: 'retry' }));
    take(OUTAGE);
    expect(lines).toEqual([]);
  });

  it('are written, and all timers are cleared, on close()', () => {
    const { clock, calls, take, log, aboveDebug } = make();
    calls.waiting = 1;
    take(OUTAGE);
    take({ ...OUTAGE, flapping: true });
    take(makeAttemptEnd());
    take(makeAttemptEnd());
    log.close();
    expect(aboveDebug().at(-1)).toMatch(/\(1 more in the last minute\)$/);
    expect(clock.pending).toBe(0);
  });
});
