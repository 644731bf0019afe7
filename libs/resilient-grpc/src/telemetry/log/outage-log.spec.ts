import { describe, expect, it } from 'vitest';
import type { GrpcClientEvent } from '../../call/call-event.js';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import { OutageLog, type LoggedFailure } from './outage-log.js';

const DOCTOR = 'npx nestjs-resilient-grpc doctor 10.0.0.7:50051';

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const fields: object[] = [];
  const calls: {
    isConnected: boolean;
    waiting: number;
    awaitsReady?: boolean;
    failed: number;
    failure?: LoggedFailure;
  } = {
    isConnected: false,
    waiting: 0,
    failed: 0,
  };
  const outages = new OutageLog(
    '10.0.0.7:50051',
    () => calls,
    DOCTOR,
    (level, text, reported) => {
      lines.push(`${level} ${text}`);
      fields.push(reported);
    },
    clock,
  );
  const take = (body: EventBody<Extract<GrpcClientEvent, { type: 'outage-start' | 'outage-end' }>>) => {
    const origin = { client: 'orders', at: clock.epoch() };
    if (body.type === 'outage-start') outages.started({ ...origin, ...body });
    else outages.ended({ ...origin, ...body });
  };
  const aboveDebug = () => lines.filter((line) => !line.startsWith('debug '));
  return { clock, lines, fields, calls, outages, take, aboveDebug };
}

const OUTAGE = {
  type: 'outage-start',
  cause: 'connect ECONNREFUSED 10.0.0.7:50051',
  graceMs: 5_100,
  flapping: false,
} as const;
const END = {
  type: 'outage-end',
  durationMs: 7_300,
  connectAttempts: 9,
  waitedCalls: 12,
  abandonedCalls: 0,
  failedCalls: 3,
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
    const { clock, calls, outages, take, aboveDebug } = make();
    calls.waiting = 12;
    take(OUTAGE);
    clock.advance(5_000);
    calls.isConnected = true;
    clock.advance(3_000);
    expect(aboveDebug()).toEqual([expect.stringMatching(/^warn outage: /)]);
    outages.graceEnded();
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
    const { clock, calls, outages, take, aboveDebug } = make();
    take(OUTAGE);
    clock.advance(7_000);
    expect(aboveDebug()).toEqual([]);
    outages.graceEnded();
    expect(aboveDebug()).toEqual([expect.stringMatching(/^warn outage has lasted 7 s: /)]);
    calls.failed = 3;
    clock.advance(60_000);
    expect(aboveDebug()).toHaveLength(1);
    expect(clock.pending).toBe(0);
  });

  it('logs an outage without a grace period only when the outage is 1.5 s old, even if a call fails earlier', () => {
    const { clock, outages, take, aboveDebug } = make();
    take({ ...OUTAGE, graceMs: 0 });
    outages.graceEnded();
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

  it('logs the numbers of waiting calls and failed calls of an outage', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.failed = 7;
    take(OUTAGE);
    Object.assign(calls, { waiting: 2, failed: 10 });
    clock.advance(1_500);
    expect(aboveDebug()[0]).toMatch(/calls wait up to 5\.1 s or until their deadline \(2 waiting, 3 failed\);/);
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

  it('logs the target of an outage if the cause does not contain it', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, cause: 'certificate has expired' });
    clock.advance(5_100);
    for (const line of aboveDebug()) expect(line).toContain(': 10.0.0.7:50051: certificate has expired; calls ');
  });

  it('uses the singular for one attempt and one call at the end of an outage', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    take(OUTAGE);
    clock.advance(5_000);
    take({ ...END, connectAttempts: 1, waitedCalls: 1, failedCalls: 0 });
    expect(aboveDebug().at(-1)).toBe('log reconnected after 7.3 s, 1 failed attempt; 1 call waited, 0 failed');
  });

  it('escapes control characters in the cause of an outage', () => {
    const { clock, calls, take, lines } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, cause: 'bad\ncertificate\u001b[31m' });
    clock.advance(5_000);
    for (const line of lines) expect(line).toContain('bad\\u000acertificate\\u001b[31m');
  });

  it('logs the number of waiting calls that timed out or were cancelled during an outage', () => {
    const { clock, calls, fields, take, aboveDebug } = make();
    calls.waiting = 77;
    take(OUTAGE);
    clock.advance(5_000);
    take({ ...END, waitedCalls: 77, abandonedCalls: 40, failedCalls: 0 });
    expect(aboveDebug().at(-1)).toBe(
      'log reconnected after 7.3 s, 9 failed attempts; 77 calls waited, 40 timed out or were cancelled, 0 failed',
    );
    expect(fields.at(-1)).toMatchObject({ waitedCalls: 77, abandonedCalls: 40, failedCalls: 0 });
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
  it('logs flapping once, then one summary a minute', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    for (let second = 0; second < 150; second++) {
      take({ ...OUTAGE, flapping: true });
      clock.advance(500);
      take({ ...END, durationMs: 500 });
      clock.advance(500);
    }
    expect(aboveDebug()[0]).toMatch(/^warn flapping: 3 outages in a minute \(connect ECONNREFUSED/);
    expect(aboveDebug()[1]).toBe('warn flapping: 59 more outages in the last minute; 720 calls waited, 180 failed');
    expect(aboveDebug()[2]).toBe('warn flapping: 60 more outages in the last minute; 720 calls waited, 180 failed');
    expect(aboveDebug()).toHaveLength(3);
    clock.advance(600_000);
    expect(aboveDebug()).toHaveLength(4);
    expect(clock.pending).toBe(0);
    take({ ...OUTAGE, flapping: true });
    expect(aboveDebug()[4]).toBe(aboveDebug()[0]);
  });

  it('logs an outage and its end if a flapping server stays down', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, flapping: true, graceMs: 3_000 });
    clock.advance(59_999);
    expect(aboveDebug()).toHaveLength(1);
    clock.advance(1);
    expect(aboveDebug()[1]).toMatch(/^warn outage has lasted 60 s: .*; calls without waitForReady fail immediately/);
    clock.advance(600_000);
    take({ ...END, durationMs: 660_000 });
    expect(aboveDebug().slice(2)).toEqual([
      'log reconnected after 660 s, 9 failed attempts; 12 calls waited, 3 failed',
    ]);
  });

  it('logs individual outages of a flapping server at most once a minute, each with its end', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    const reported: [atMs: number, line: string][] = [];
    for (let second = 0; second < 180; second += 4) {
      take({ ...OUTAGE, flapping: true, graceMs: 0 });
      for (const half of [1, 2]) {
        clock.advance(1_500);
        if (half === 2) take({ ...END, durationMs: 3_000 });
        for (const line of aboveDebug().slice(reported.length)) reported.push([clock.now(), line]);
      }
      clock.advance(1_000);
    }
    const outageLines = reported.filter(([, line]) => !line.startsWith('warn flapping'));
    expect(outageLines.map(([, line]) => line.slice(0, 15))).toEqual(
      [1, 2].flatMap(() => ['warn outage has', 'log reconnected']),
    );
    const startTimes = outageLines.filter(([, line]) => line.startsWith('warn')).map(([atMs]) => atMs);
    for (const [i, at] of startTimes.slice(1).entries()) expect(at - startTimes[i]!).toBeGreaterThanOrEqual(60_000);
  });

  it('logs a lasting outage of a flapping server one minute after the flapping line', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, flapping: true, graceMs: 0 });
    clock.advance(3_000);
    take(END);
    take({ ...OUTAGE, flapping: true, graceMs: 0 });
    clock.advance(56_999);
    expect(aboveDebug()).toHaveLength(1);
    clock.advance(1);
    expect(aboveDebug().at(-1)).toMatch(/^warn outage has lasted 57 s: /);
  });
});
