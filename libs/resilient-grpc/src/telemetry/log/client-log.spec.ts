import { describe, expect, it } from 'vitest';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { ClientLog, type OutageImpact, CLIENT_LINES, type ClientLogEvent } from './client-log.js';
import type { EventFields, LogSink } from './library-logger.js';
import { EventLog } from './event-log.js';

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
      'warn outage has lasted 5.1 s: connect ECONNREFUSED 10.0.0.7:50051; calls fail immediately (UNAVAILABLE), except those with waitForReady: true; ' +
        `check the server; the client keeps trying to reconnect; to diagnose, run: ${DOCTOR}; see node_modules/nestjs-resilient-grpc/docs/operate/runbook.md`,
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

  it('says which grace period would have been long enough for a restart in which calls failed', () => {
    const { clock, take, aboveDebug } = make();
    for (const durationMs of [7_300, 25_000]) {
      take(OUTAGE);
      clock.advance(5_100);
      take({ type: 'outage-grace-over', durationMs: 5_100 });
      take({ ...END, durationMs });
      clock.advance(60_000);
    }
    const ends = aboveDebug().filter((line) => line.startsWith('log reconnected'));
    expect(ends).toEqual([
      'log reconnected after 7.3 s, 9 failed attempts; 12 calls waited, 3 failed; with outageGraceMs: 9000, calls would have waited for the server',
      'log reconnected after 25 s, 9 failed attempts; 12 calls waited, 3 failed',
    ]);
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

  it('logs an outage without a grace period only after a call fails during the outage, and then logs its end', () => {
    const { clock, calls, take, aboveDebug } = make();
    calls.failed = 7;
    take({ ...OUTAGE, graceMs: 0 });
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([]);
    calls.failed = 8;
    clock.advance(1_500);
    expect(aboveDebug()).toEqual([
      expect.stringMatching(/^warn outage has lasted 3 s: .*calls fail immediately \(UNAVAILABLE\), except/),
    ]);
    take(END);
    expect(aboveDebug()[1]).toMatch(/^log reconnected after/);
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
    expect(aboveDebug()[2]).toMatch(
      /^warn outage has lasted 5.1 s: .*; calls fail immediately \(UNAVAILABLE\), except/,
    );
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
        /^warn flapping: 3 outages in a minute \(.*\(0 calls waited, 0 failed\); check whether .*connections; see node_modules\/nestjs-resilient-grpc\/docs\/operate\/runbook\.md$/,
      ),
      expect.stringMatching(
        /^warn flapping: 62 outages in a row \(.*\(720 calls waited, 180 failed\); .*\(58 more in the last minute/,
      ),
      expect.stringMatching(
        /^warn flapping: 122 outages in a row \(.*\(1440 calls waited, 360 failed\); .*\(59 more in the last/,
      ),
    ]);
    expect(fields.at(-2)).toMatchObject({ event: 'outage-start', flapping: true, graceMs: 5_100 });
    clock.advance(600_000);
    expect(aboveDebug().slice(4)).toEqual([
      'log stable for a minute after 152 outages (1800 calls waited, 450 failed)',
    ]);
    expect(clock.pending).toBe(0);
    take(OUTAGE);
    take({ ...OUTAGE, flapping: true });
    expect(aboveDebug()[5]).toBe(aboveDebug()[0]);
  });

  it('logs an outage and its end if a flapping server stays down for five seconds, at most once a minute', () => {
    const { clock, calls, take, aboveDebug } = make();
    const isDown = () => {
      take({ ...OUTAGE, flapping: true, graceMs: 3_000 });
      clock.advance(3_000);
      take(GRACE_OVER);
      clock.advance(1_999);
    };
    calls.waiting = 1;
    isDown();
    expect(aboveDebug()).toHaveLength(1);
    clock.advance(1);
    expect(aboveDebug()[1]).toMatch(/^warn outage has lasted 5 s: .*; calls fail immediately \(UNAVAILABLE\), except/);
    take({ ...END, durationMs: 5_000 });
    isDown();
    clock.advance(10_000);
    take({ ...END, durationMs: 15_000 });
    expect(aboveDebug()).toHaveLength(3);
    clock.advance(42_999);
    expect(aboveDebug().slice(3)).toEqual([
      expect.stringMatching(/^warn flapping: 4 outages .*24 calls waited, 6 failed/),
    ]);
    isDown();
    clock.advance(1);
    expect(aboveDebug()[4]).toMatch(/^warn outage has lasted 5 s: .*; calls fail immediately \(UNAVAILABLE\), except/);
    clock.advance(600_000);
    take({ ...END, durationMs: 660_000 });
    expect(aboveDebug().at(-1)).toBe('log reconnected after 660 s, 9 failed attempts; 12 calls waited, 3 failed');
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
    expect(fields[2]).toMatchObject({ repeats: 5 });
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
    for (let i = 0; i < 3; i++) take(makeAttemptEnd());
    log.close();
    expect(aboveDebug().at(-1)).toMatch(/\(1 more in the last minute\)$/);
    expect(clock.pending).toBe(0);
  });
});

const path = '/orders.v1.Orders/Get';
const TARGET = { target: '10.0.0.7:50051', doctorCommand: 'npx nestjs-resilient-grpc doctor 10.0.0.7:50051' };
const OUTAGE_EVENT = { cause: '10.0.0.7:50051 refused the connection', graceMs: 5_100, flapping: false, ...TARGET };
const EXPLAINED = { ...OUTAGE_EVENT, cause: 'certificate has expired', kind: 'tls', remedy: 'renew the certificate' };
const ENDED = { waitedCalls: 12, abandonedCalls: 0, failedCalls: 3 };
const ATTEMPT = { number: 2, code: 14, details: 'lost', durationMs: 5.4, superseded: false, peer: 'a:1' } as const;
const INTERRUPTED = { ...ATTEMPT, details: 'Connection lost after the response had started (UNAVAILABLE: dropped)' };
const UNSAFE = { type: 'attempt-end', path, attempt: ATTEMPT, reachedServer: 'maybe', next: 'none' } as const;
const EJECTED = { type: 'endpoint', change: 'ejected', address: 'a:1', forMs: 30_000.4, ejections: 1 } as const;
const CIRCUIT_EVENT = { path, reason: 'too-many-failures', failures: 11, total: 20, breakMs: 5_000 } as const;
const LIMIT = { path, latencyMs: 120.4, unloadedLatencyMs: 50.2, overloaded: false };
const DRAINED = {
  running: 0,
  finished: 3,
  failed: 0,
  completed: 2,
  ended: 0,
  cancelled: 0,
  cutOffByPath: {},
  durationMs: 80,
};
const SILENT = { address: 'a:1', silentMs: 12_340.2, timeouts: 3 } as const;
const DEAD = { reason: 'suspicion', ...SILENT } as const;
const STREAMS = { phase: 'begin', waiting: 3, connections: 1, limit: 100 } as const;
const UNSENT = { path, messageType: 'Order' };

const LINES: readonly [EventBody<ClientLogEvent>, string | undefined][] = [
  [{ type: 'call-start', path }, undefined],
  [{ type: 'connectivity', from: 'READY', to: 'IDLE', cause: 'GOAWAY' }, 'debug READY → IDLE: GOAWAY'],
  [{ type: 'connectivity', from: 'IDLE', to: 'CONNECTING' }, 'debug IDLE → CONNECTING'],
  // Attempts to connect of one outage.
  [{ type: 'connectivity', from: 'CONNECTING', to: 'TRANSIENT_FAILURE', cause: 'refused' }, undefined],
  [{ type: 'connectivity', from: 'TRANSIENT_FAILURE', to: 'CONNECTING' }, undefined],
  [{ type: 'connection', change: 'connected', address: 'a:1' }, 'debug connection connected: address=a:1'],
  [{ type: 'connection', change: 'failed', cause: 'no such name' }, 'debug connection failed: cause=no such name'],
  [
    { type: 'connection', change: 'ended', address: 'a:1', livedMs: 3_000.2, reason: 'GOAWAY NO_ERROR' },
    'debug connection ended: address=a:1, livedMs=3000, reason=GOAWAY NO_ERROR',
  ],
  [
    { type: 'dead-connection', ...SILENT },
    'warn no response from a:1: no bytes received for 12.3 s, 3 calls timed out, and a probe was not answered; calls stay on this connection until another one is READY; check whether the server or its node is frozen or cut off; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [{ type: 'connection-replaced', reason: 'age' }, 'debug connection-replaced: reason=age'],
  [
    { type: 'connection-replaced', ...DEAD, by: 'new-channel' },
    'warn dead connection to a:1 closed: no bytes received for 12.3 s, 3 calls timed out, and a probe was not answered; calls use a new connection that is READY',
  ],
  [
    { type: 'connection-replaced', ...DEAD, by: 'other-connections' },
    'warn dead connection to a:1 closed: no bytes received for 12.3 s, 3 calls timed out, and a probe was not answered; calls use the other endpoints until the client reconnects to a:1',
  ],
  [
    { type: 'slow-connect', cause: 'connecting for 1.5 s', waiting: 3, connectTimeoutMs: 20_000, graceMs: 4_700 },
    'warn no connection to 10.0.0.7:50051 yet: connecting for 1.5 s (3 calls waiting); a connection attempt times out after 20 s (connections.connectTimeoutMs), and calls then wait up to 4.7 s (outageGraceMs), or until their deadline; check the server, the HTTP proxy if there is one, and the TLS settings of both sides; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'slow-connect', cause: 'connecting', waiting: 0, connectTimeoutMs: 20_000, graceMs: 4_700 },
    'warn no connection to 10.0.0.7:50051 yet: connecting (only waitForReady() is waiting); a connection attempt times out after 20 s (connections.connectTimeoutMs), and calls then wait up to 4.7 s (outageGraceMs), or until their deadline; check the server, the HTTP proxy if there is one, and the TLS settings of both sides; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'stream-limit', ...STREAMS, maxConnectionsPerSubchannel: 1, opensConnection: false },
    "warn 10.0.0.7:50051 allows 100 concurrent streams on 1 connection, and all are in use (3 calls waiting); calls wait until other calls end; raise maxConnectionsPerSubchannel of the service config (now 1) or the server's limit",
  ],
  [
    { type: 'stream-limit', ...STREAMS, maxConnectionsPerSubchannel: 4, opensConnection: true },
    'warn 10.0.0.7:50051 allows 100 concurrent streams on 1 connection, and all are in use (3 calls waiting); another connection is being opened',
  ],
  [
    { type: 'stream-limit', phase: 'end', durationMs: 20 },
    'debug stream-limit end: durationMs=20, target=10.0.0.7:50051',
  ],
  [
    { type: 'outage-start', ...OUTAGE_EVENT },
    'debug outage-start: cause=10.0.0.7:50051 refused the connection, graceMs=5100, flapping=false, target=10.0.0.7:50051, doctorCommand=npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'outage', ...EXPLAINED, waiting: 2, failed: 3 },
    'warn outage: 10.0.0.7:50051: certificate has expired; renew the certificate; calls wait up to 5.1 s or until their deadline (2 waiting, 3 failed); to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'outage', ...OUTAGE_EVENT, waiting: 0, failed: 8 },
    'warn outage: 10.0.0.7:50051 refused the connection; 8 calls failed, and none is waiting; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'outage', ...OUTAGE_EVENT, waiting: 0, failed: 0 },
    'warn outage: 10.0.0.7:50051 refused the connection; only waitForReady() is waiting; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'outage-grace-over', ...EXPLAINED, durationMs: 5_100 },
    'warn outage has lasted 5.1 s: 10.0.0.7:50051: certificate has expired; calls fail immediately (UNAVAILABLE), except those with waitForReady: true; renew the certificate; the client keeps trying to reconnect; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051; see node_modules/nestjs-resilient-grpc/docs/operate/runbook.md',
  ],
  [
    { type: 'outage-end', durationMs: 2_000, connectAttempts: 1, waitedCalls: 1, abandonedCalls: 1, failedCalls: 0 },
    'log reconnected after 2 s, 1 failed attempt; 1 call waited, 1 timed out or was cancelled, 0 failed',
  ],
  [
    { type: 'flapping', ...OUTAGE_EVENT, flaps: { outages: 62, ...ENDED, abandonedCalls: 4 } },
    'warn flapping: 62 outages in a row (10.0.0.7:50051 refused the connection); calls wait up to outageGraceMs for all of them together, and then fail immediately (12 calls waited, 4 timed out or were cancelled, 3 failed); check whether the server keeps restarting or a proxy closes its connections; see node_modules/nestjs-resilient-grpc/docs/operate/runbook.md',
  ],
  [{ ...UNSAFE, attempt: { ...ATTEMPT, code: 0 }, reachedServer: 'yes', reason: 'fatal-status' }, undefined],
  [
    { ...UNSAFE, reachedServer: 'no', next: 'retry', reason: 'connection-lost' },
    'debug /orders.v1.Orders/Get at a:1: UNAVAILABLE: lost; retry (connection-lost)',
  ],
  [
    { ...UNSAFE, next: 'resume', reason: 'not-safe-to-repeat' },
    'debug /orders.v1.Orders/Get at a:1: UNAVAILABLE: lost; resume (not-safe-to-repeat)',
  ],
  [
    { ...UNSAFE, reason: 'not-safe-to-repeat' },
    'warn /orders.v1.Orders/Get at a:1: UNAVAILABLE: lost; the call may have reached the server and was not retried again (not-safe-to-repeat); check whether it took effect, or declare the method idempotent if it is safe to repeat',
  ],
  [
    { ...UNSAFE, reason: 'throttled' },
    'warn /orders.v1.Orders/Get at a:1: UNAVAILABLE: lost; the call may have reached the server and was not retried again (throttled)',
  ],
  [
    { ...UNSAFE, attempt: INTERRUPTED, reachedServer: 'yes', reason: 'committed' },
    'warn /orders.v1.Orders/Get at a:1: UNAVAILABLE: Connection lost after the response had started (UNAVAILABLE: dropped); neither retried nor resumed; to continue a stream after a lost connection or a reset, use resumable() from nestjs-resilient-grpc/operators',
  ],
  [{ ...UNSAFE, reachedServer: 'yes', reason: 'fatal-status' }, undefined],
  [{ ...UNSAFE, reachedServer: 'no', reason: 'local' }, undefined],
  [{ ...UNSAFE, reason: 'cancelled' }, undefined],
  [{ ...UNSAFE, reason: 'deadline' }, undefined],
  [
    { type: 'keepalive-throttled', keepaliveTimeMs: 20_000 },
    'warn server rejected keepalive pings (too_many_pings); now pinging every 20 s; servers of gRPC allow one ping per 5 minutes by default, and none without a call, so this may be rejected again; set keepalive.keepaliveTimeMs to the minimum of the server, such as 300000, or omit keepalive',
  ],
  [
    { type: 'addresses-limited', reported: 4_000, used: 1_000 },
    'warn resolver reported 4000 addresses; the client uses 1000; put a load balancer in front of the servers, or resolve only a subset of the addresses',
  ],
  [
    { type: 'addresses-changed', added: ['a:1', 'b:1', 'c:1', 'd:1', 'e:1', 'f:1', 'g:1'], removed: [], total: 9 },
    'debug addresses-changed: added=a:1, b:1, c:1, d:1, e:1, and 2 more, removed=, total=9',
  ],
  [
    { type: 'lookup-failed', addresses: 3 },
    'warn 10.0.0.7:50051: DNS lookup failed; the client keeps its 3 addresses and resolves the name again; check the name and the name server',
  ],
  [
    {
      type: 'endpoint-watch',
      change: 'failed',
      cause: 'cannot watch: 403',
      remedy: "grant the permission: echo '{}'",
      addresses: 1,
    },
    "warn 10.0.0.7:50051: cannot watch: 403; the client keeps its 1 address, and the request is repeated at least every 30 s; grant the permission: echo '{}'",
  ],
  [
    { type: 'endpoint-watch', change: 'failed', cause: 'cannot watch', addresses: 0 },
    'warn 10.0.0.7:50051: cannot watch; no endpoints are known, and the request is repeated at least every 30 s',
  ],
  [
    { type: 'endpoint-watch', change: 'restored', failedMs: 12_000.4 },
    'log 10.0.0.7:50051: endpoint watch restored after 12 s',
  ],
  [
    {
      type: 'reachability',
      change: 'lost',
      address: 'a:1',
      cause: 'a:1 refused the connection',
      remedy: 'check the server',
      failedMs: 60_000.4,
    },
    'warn endpoint a:1 unreachable for 60 s: a:1 refused the connection; calls use other connections; check the server; to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
  ],
  [
    { type: 'reachability', change: 'restored', address: 'a:1', failedMs: 90_000 },
    'log endpoint a:1 is connected again after 90 s',
  ],
  [
    { ...EJECTED, evidence: { reason: 'consecutive-failures', failures: 5 } },
    'warn endpoint a:1 ejected for 30 s: 5 consecutive attempts failed; calls use the other endpoints',
  ],
  [
    { ...EJECTED, evidence: { reason: 'success-rate', failures: 9, attempts: 10, threshold: 0.8531 } },
    'warn endpoint a:1 ejected for 30 s: 9 of 10 attempts failed, a larger share than at the other endpoints; calls use the other endpoints',
  ],
  [
    { ...EJECTED, evidence: { reason: 'failure-percentage', failures: 9, attempts: 10 } },
    'warn endpoint a:1 ejected for 30 s: 9 of 10 attempts failed; calls use the other endpoints',
  ],
  [
    { ...EJECTED, evidence: { reason: 'no-response', silentMs: 4_000, unanswered: 1 } },
    'warn endpoint a:1 ejected for 30 s: no response for 4 s to 1 attempt; calls use the other endpoints',
  ],
  [
    {
      type: 'endpoint',
      change: 'spared',
      address: 'a:1',
      evidence: { reason: 'latency', medianMs: 500.123, othersMs: 20 },
      limit: 'panic-threshold',
    },
    'debug endpoint a:1 not ejected (panic-threshold): median latency 500 ms, versus 20 ms at the other endpoints',
  ],
  [
    { type: 'endpoint', change: 'returned', address: 'a:1', reason: 'expired', ejectedMs: 2_000 },
    'log endpoint a:1 gets calls again 2 s after its ejection',
  ],
  [
    { type: 'endpoint', change: 'returned', address: 'a:1', reason: 'panic', ejectedMs: 2_000 },
    'log endpoint a:1 gets calls again 2 s after its ejection, earlier than planned, because too few other endpoints are usable',
  ],
  [
    { type: 'endpoint', change: 'health', address: 'a:1', from: 'serving', to: 'not-serving' },
    'log endpoint a:1 does not report SERVING and gets no calls',
  ],
  [
    { type: 'endpoint', change: 'health', address: 'a:1', from: 'not-serving', to: 'serving' },
    'log endpoint a:1 reports SERVING and gets calls',
  ],
  [
    { type: 'endpoint', change: 'health', address: 'a:1', from: 'pending', to: 'serving' },
    'debug endpoint a:1 reports SERVING and gets calls',
  ],
  [
    { type: 'endpoint', change: 'health', address: 'a:1', from: 'pending', to: 'unknown-service' },
    'warn endpoint a:1 reports the service in healthCheckConfig as unknown and gets no calls; write the full name of a service, as in the proto',
  ],
  [
    { type: 'circuit', ...CIRCUIT_EVENT, from: 'closed', to: 'open' },
    'warn /orders.v1.Orders/Get: circuit open for 5 s: 11 of 20 attempts failed; calls fail immediately',
  ],
  [
    { type: 'circuit', ...CIRCUIT_EVENT, from: 'open', to: 'half-open' },
    'debug /orders.v1.Orders/Get: circuit half-open; one call is admitted',
  ],
  [
    { type: 'circuit', ...CIRCUIT_EVENT, from: 'half-open', to: 'closed' },
    'log /orders.v1.Orders/Get: circuit closed; calls are admitted',
  ],
  [
    { type: 'concurrency-limit', ...LIMIT, from: 40, to: 19 },
    'log /orders.v1.Orders/Get: concurrency limit reduced from 40 to 19: calls take 120 ms, versus 50 ms without load; calls above the limit are queued, up to maxConcurrentCalls.queue',
  ],
  [
    { type: 'concurrency-limit', ...LIMIT, path: undefined, overloaded: true, from: 20, to: 10 },
    'log 10.0.0.7:50051: concurrency limit reduced from 20 to 10: more than 10% of the latest calls timed out or were refused; calls above the limit are queued, up to maxConcurrentCalls.queue',
  ],
  [
    { type: 'concurrency-limit', ...LIMIT, from: 19, to: 38 },
    'debug /orders.v1.Orders/Get: concurrency limit raised from 19 to 38',
  ],
  [
    { type: 'stream-resumed', path, resumes: 2, gapMs: 80.2, progress: true },
    'debug stream-resumed: path=/orders.v1.Orders/Get, resumes=2, gapMs=80, progress=true',
  ],
  [
    { type: 'awaited-call', path, awaitedAt: 'orders.ts:7' },
    'warn /orders.v1.Orders/Get: the call at orders.ts:7 was awaited but not subscribed to, so it was not made; write await firstValueFrom(call)',
  ],
  [
    {
      type: 'unanswered-calls',
      address: 'a:1',
      paths: { '/a.A/Get': 2, '/a.A/List': 1 },
      oldestMs: 24_000.4,
      remedy: 'the server is stuck',
    },
    'warn a:1 has not answered 2 calls to /a.A/Get, 1 call to /a.A/List for up to 24 s; the calls have no deadline and may never end: set timeoutMs; the server is stuck',
  ],
  [
    { type: 'unread-stream', path, openMs: 60_000, unreadMs: 30_000, openedAt: 'feed.ts:7' },
    'warn /orders.v1.Orders/Get: stream open for 60 s, unread for 30 s; opened at feed.ts:7',
  ],
  [
    { type: 'unread-stream', path, openMs: 60_000, unreadMs: 30_000 },
    'warn /orders.v1.Orders/Get: stream open for 60 s, unread for 30 s; the client logs where later streams were opened',
  ],
  [
    { type: 'requests-burst', path, messages: 12_000 },
    'warn /orders.v1.Orders/Get: an Observable emitted 12000 requests at once, all buffered in memory; pass an Iterable or AsyncIterable instead, which is pulled',
  ],
  [
    { type: 'drain', phase: 'begin', ...DRAINED, running: 3 },
    'debug drain begin: running=3, finished=3, failed=0, completed=2, ended=0, cancelled=0, durationMs=80',
  ],
  [{ type: 'drain', phase: 'end', ...DRAINED }, 'debug drained: 3 calls finished, 2 streams completed, 0 cut off'],
  [
    {
      type: 'drain',
      phase: 'end',
      ...DRAINED,
      failed: 2,
      ended: 3,
      cancelled: 3,
      cutOffByPath: { '/a.B/M': 1, '/a.B/N': 2 },
    },
    'warn drained: 3 calls finished (2 failed), 2 streams completed, 3 ended by onDrain, 3 cut off (2 calls to /a.B/N, 1 call to /a.B/M)',
  ],
  [
    {
      type: 'untested-version',
      installed: '@grpc/grpc-js 9.0.0',
      tested: '@grpc/grpc-js 1.14.7',
      missing: [],
      lost: [],
    },
    'warn @grpc/grpc-js 9.0.0 is outside the tested versions; calls continue; tested with @grpc/grpc-js 1.14.7',
  ],
  [
    {
      type: 'untested-version',
      installed: '@grpc/grpc-js 9.0.0',
      tested: '@grpc/grpc-js 1.14.7',
      missing: ['Channel.a', 'Channel.b'],
      lost: ['fast reconnects', 'pings'],
    },
    'warn @grpc/grpc-js 9.0.0 lacks private names (Channel.a, Channel.b); disabled: fast reconnects; pings; calls continue; tested with @grpc/grpc-js 1.14.7',
  ],
  [
    { type: 'unsent-field', ...UNSENT, field: 'request_id', suggestion: 'requestId' },
    "warn /orders.v1.Orders/Get: the request contains 'request_id', but Order has no such field, so the value is not sent; did you mean 'requestId'? To use the names of the .proto file, set loader: { keepCase: true }",
  ],
  [
    { type: 'unsent-field', ...UNSENT, field: 'lines.requestID', suggestion: 'requestId' },
    "warn /orders.v1.Orders/Get: the request contains 'lines.requestID', but Order has no such field, so the value is not sent; did you mean 'requestId'?",
  ],
  [
    { type: 'unsent-field', ...UNSENT, field: 'reqest_id', suggestion: 'request_id' },
    "warn /orders.v1.Orders/Get: the request contains 'reqest_id', but Order has no such field, so the value is not sent; did you mean 'request_id'?",
  ],
  [
    { type: 'unsent-field', ...UNSENT, field: 'quantity', problem: 'expected a\nnumber', sent: '0' },
    "warn /orders.v1.Orders/Get: field 'quantity' of the request (Order): expected a\\u000anumber; the serializer sends 0 instead",
  ],
  [
    {
      type: 'unsent-field',
      ...UNSENT,
      field: '',
      problem: 'expected an object, got a Promise',
      sent: 'an empty object',
    },
    'warn /orders.v1.Orders/Get: the request (Order): expected an object, got a Promise; the serializer sends an empty object instead',
  ],
];

/** Returns the line of an event, with its level, and its fields. */
function logged(body: EventBody<ClientLogEvent>) {
  const lines: string[] = [];
  const fields: EventFields[] = [];
  const write: LogSink['write'] = (level, text, own) => {
    lines.push(`${level} ${text}`);
    fields.push(own);
  };
  const clock = new VirtualClock();
  const log = new EventLog(CLIENT_LINES, TARGET, { write, isDebugEnabled: true }, clock);
  log.take({ client: 'orders', at: clock.epoch(), ...body });
  return { line: lines[0], fields: fields[0] };
}

describe('log line of a client event', () => {
  it.each(LINES)('has the expected level and text: %j', (event, line) => {
    expect(logged(event).line).toBe(line);
  });

  it.each<[EventBody<ClientLogEvent>, object]>([
    [
      { type: 'connection', change: 'ended', address: 'a:1', livedMs: 3_000.2, reason: 'GOAWAY NO_ERROR' },
      { change: 'ended', address: 'a:1', livedMs: 3_000, reason: 'GOAWAY NO_ERROR' },
    ],
    [
      { type: 'outage', ...EXPLAINED, waiting: 2, failed: 3 },
      { ...EXPLAINED, waiting: 2, failed: 3 },
    ],
    [
      { ...UNSAFE, reason: 'throttled' },
      {
        path,
        code: 'UNAVAILABLE',
        details: 'lost',
        peer: 'a:1',
        attempt: 2,
        durationMs: 5.4,
        superseded: false,
        reachedServer: 'maybe',
        next: 'none',
        reason: 'throttled',
      },
    ],
    [
      { type: 'addresses-changed', added: ['a:1', 'b:1'], removed: ['c:1'], total: 4 },
      { added: 'a:1, b:1', removed: 'c:1', total: 4 },
    ],
    [
      { ...EJECTED, evidence: { reason: 'consecutive-failures', failures: 5 } },
      {
        change: 'ejected',
        address: 'a:1',
        reason: 'consecutive-failures',
        failures: 5,
        forMs: 30_000,
        ejections: 1,
      },
    ],
    [
      {
        type: 'unanswered-calls',
        address: 'a:1',
        paths: { '/a.A/Get': 2, '/a.A/List': 1 },
        oldestMs: 24_000,
        remedy: 'x',
      },
      { address: 'a:1', calls: 3, oldestMs: 24_000, remedy: 'x' },
    ],
  ])('has the properties of the event as fields: %j', (event, fields) => {
    expect(logged(event).fields).toEqual({ client: 'orders', event: event.type, ...fields });
  });

  it('escapes control characters, masks secrets, and truncates text from peers, in texts and fields', () => {
    const evil = 'denied\u001b[31m\nFAKE LINE, authorization: Bearer hush-hush and {"token":"hush"}';
    const details = `${evil} ${'x'.repeat(10_000)}`;
    const events: EventBody<ClientLogEvent>[] = [
      { type: 'outage', ...OUTAGE_EVENT, cause: evil, waiting: 1, failed: 0 },
      { type: 'outage-start', ...OUTAGE_EVENT, cause: evil },
      { type: 'connectivity', from: 'READY', to: 'IDLE', cause: evil },
      { type: 'reachability', change: 'lost', address: 'a:1', cause: evil, remedy: evil, failedMs: 60_000 },
      ...(['none', 'retry', 'resume'] as const).map(
        (next) =>
          ({
            type: 'attempt-end',
            path,
            attempt: { ...ATTEMPT, details },
            reachedServer: 'maybe',
            next,
            reason: 'throttled',
          }) as const,
      ),
    ];
    for (const event of events) {
      const { line, fields } = logged(event);
      expect(line).toContain('denied\\u001b');
      expect(line?.length).toBeLessThan(700);
      for (const text of [line, ...Object.values(fields ?? {})])
        expect(String(text)).not.toMatch(/[\u0000-\u001f]|hush/);
    }
  });

  it('truncates the remedy of a failed endpoint watch later than other texts', () => {
    const remedy = `grant\n\u001b[31m${'x'.repeat(3_000)}`;
    const { line, fields } = logged({ type: 'endpoint-watch', change: 'failed', cause: 'no', remedy, addresses: 0 });
    for (const text of [line, fields?.['remedy']]) expect(text).toMatch(/grant\\u000a\\u001b\[31mx{1900,2000}…$/);
  });
});
