import { describe, expect, it } from 'vitest';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import { ClientLog } from './client-log.js';
import type { LogLine } from './log-line.js';

const DOCTOR = 'npx nestjs-resilient-grpc doctor 10.0.0.7:50051';

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const kept: LogLine[] = [];
  const calls = { isConnected: false, waiting: 0, failed: 0 };
  const enabled = { debug: true };
  const write = (level: string) => (line: LogLine) => {
    kept.push(line);
    lines.push(`${level} ${String(line)}`);
  };
  const sink = { debug: write('debug'), log: write('log'), warn: write('warn') };
  const client = {
    name: 'orders',
    target: '10.0.0.7:50051',
    doctorCommand: DOCTOR,
    impact: () => calls,
    isDebugEnabled: () => enabled.debug,
  };
  const log = new ClientLog(sink, client, clock);
  const take = (body: EventBody) => log.take({ client: 'orders', at: clock.epoch(), ...body });
  const aboveDebug = () => lines.filter((line) => !line.startsWith('debug '));
  return { clock, lines, kept, calls, enabled, log, take, aboveDebug };
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

const path = '/orders.v1.Orders/Get';
const DRAINED = {
  running: 0,
  finished: 1,
  failed: 0,
  completed: 2,
  ended: 0,
  cancelled: 0,
  cutOffByPath: {},
  durationMs: 80,
};
const CIRCUIT = {
  type: 'circuit',
  path,
  reason: 'too-many-failures',
  failures: 11,
  total: 20,
  breakMs: 5_000,
} as const;
const ATTEMPT = { number: 2, code: 14, details: 'lost', durationMs: 5.4, superseded: false, peer: 'a:1' } as const;

describe('recurring outages', () => {
  /** Returns the maximum number of lines written within any 60 s. */
  function maxLinesPerMinute(times: readonly number[]) {
    return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + 60_000).length));
  }

  /** Simulates recurring outages in which calls fail and circuits open. Returns the lines above debug and the number of outages. */
  function simulateOutages(downMs: number, upMs: number) {
    const { clock, calls, take, log, kept } = make();
    const written: { readonly at: number; readonly event: unknown }[] = [];
    const ended: number[] = [];
    const record = (task: () => void) => {
      const before = kept.length;
      task();
      for (const { level, fields } of kept.slice(before))
        if (level !== 'debug') written.push({ at: clock.now(), event: fields['event'] });
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

describe('stream-limit event', () => {
  const LIMIT = { type: 'stream-limit', phase: 'begin', connections: 1, limit: 100 } as const;

  it('logs at most one warning a minute about a stream limit, with the limit and the remedy', () => {
    const { clock, take, aboveDebug, kept } = make();
    const atMaximum = { ...LIMIT, maxConnectionsPerEndpoint: 1, opensConnection: false };
    take({ ...atMaximum, waiting: 3 });
    take({ type: 'stream-limit', phase: 'end', durationMs: 20 });
    clock.advance(20_000);
    take({ ...atMaximum, waiting: 4 });
    expect(aboveDebug()).toEqual([
      'warn 10.0.0.7:50051 allows 100 concurrent streams on 1 connection, and all are in use (3 calls waiting); calls wait until ' +
        "other calls end; raise maxConnectionsPerEndpoint (now 1) or the server's limit",
    ]);
    expect(kept[0]?.fields).toMatchObject({
      event: 'stream-limit',
      limit: 100,
      maxConnectionsPerEndpoint: 1,
      waiting: 3,
    });
  });

  it('logs that another connection is being opened when a stream limit is reached', () => {
    const { take, aboveDebug } = make();
    take({ ...LIMIT, maxConnectionsPerEndpoint: 4, opensConnection: true, waiting: 1 });
    expect(aboveDebug()).toEqual([
      'warn 10.0.0.7:50051 allows 100 concurrent streams on 1 connection, and all are in use (1 call waiting); another connection ' +
        'is being opened',
    ]);
  });
});

describe('slow-connect event', () => {
  it('logs a slow connection attempt for which only waitForReady() is waiting', () => {
    const { take, aboveDebug } = make();
    take({ type: 'slow-connect', cause: 'connecting', waiting: 0, connectTimeoutMs: 20_000, graceMs: 4_700 });
    expect(aboveDebug()).toEqual([expect.stringContaining('yet: connecting (only waitForReady() is waiting); a ')]);
  });

  it('logs at most one warning a minute about a slow connection attempt, with the cause and the remedy', () => {
    const { clock, take, aboveDebug, kept } = make();
    const cause = 'connecting for 1.5 s: the peer accepted the TCP connection but has not responded';
    const times = { connectTimeoutMs: 20_000, graceMs: 4_700 };
    take({ type: 'slow-connect', cause, waiting: 3, ...times });
    clock.advance(20_000);
    take({ type: 'slow-connect', cause, waiting: 4, ...times });
    expect(aboveDebug()).toEqual([
      `warn no connection to 10.0.0.7:50051 yet: ${cause} (3 calls waiting); a connection attempt times out after 20 s (connectTimeoutMs), ` +
        'and calls then wait up to 4.7 s (outageGraceMs), or until their deadline; check the server, the HTTP proxy if there is one, and the TLS settings of both sides; ' +
        'to diagnose, run: npx nestjs-resilient-grpc doctor 10.0.0.7:50051',
    ]);
    expect(kept[0]?.fields).toMatchObject({
      event: 'slow-connect',
      target: '10.0.0.7:50051',
      cause,
      waiting: 3,
      ...times,
    });
  });
});

describe('attempt-end event', () => {
  it.each([
    ['was answered by the server', { reachedServer: 'yes', reason: 'fatal-status' }],
    ['was never sent', { reachedServer: 'no', reason: 'local' }],
    ['was cancelled by its caller', { reason: 'cancelled' }],
    ['exceeded its deadline', { reason: 'deadline' }],
  ] as const)('logs nothing above debug for a call that %s', (_what, change) => {
    const { take, aboveDebug } = make();
    take(makeAttemptEnd(change));
    expect(aboveDebug()).toEqual([]);
  });

  it('logs retried and resumed calls at debug', () => {
    const { take, lines } = make();
    take(makeAttemptEnd({ next: 'retry', reason: 'connection-lost' }));
    take(makeAttemptEnd({ next: 'resume', reason: 'not-safe-to-repeat' }));
    expect(lines).toEqual([
      'debug /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; retrying (connection-lost)',
      'debug /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; resuming the stream',
    ]);
  });

  it('logs nothing for a successful attempt', () => {
    const { take, lines } = make();
    take(makeAttemptEnd({ attempt: { number: 1, code: 0, details: '', durationMs: 5, superseded: false } }));
    expect(lines).toEqual([]);
  });

  it('logs the status details of the server on one line and truncates them', () => {
    const { take, aboveDebug } = make();
    const details = `evil\n${'x'.repeat(10_000)}`;
    take(makeAttemptEnd({ attempt: { number: 1, code: 14, details, durationMs: 5, superseded: false } }));
    expect(aboveDebug()[0]).not.toContain('\n');
    expect(aboveDebug()[0]?.length).toBeLessThan(600);
  });
});

describe('connection-replaced event', () => {
  const DEAD_CONNECTION = {
    type: 'connection-replaced',
    reason: 'suspicion',
    address: '10.0.0.7:50051',
    silentMs: 12_340,
    timeouts: 14,
  } as const;

  it('logs that calls use the other endpoints after a connection was replaced, if other connections are available', () => {
    const { take, aboveDebug } = make();
    take({ ...DEAD_CONNECTION, by: 'other-connections' });
    expect(aboveDebug()[0]).toMatch(
      /; calls use the other endpoints until the client reconnects to 10\.0\.0\.7:50051$/,
    );
  });
});

describe('ordinary events', () => {
  it('writes only debug lines about connectivity changes, planned connection replacements, and drains without cut-off calls', () => {
    const { take, lines, aboveDebug } = make();
    take({ type: 'connectivity', from: 'READY', to: 'IDLE', cause: 'the connection to a ended after 3.0 s' });
    take({ type: 'connectivity', from: 'IDLE', to: 'CONNECTING' });
    take({ type: 'connection-replaced', reason: 'age' });
    take({ type: 'connection-replaced', reason: 'credentials' });
    take({ type: 'drain', phase: 'begin', ...DRAINED, running: 2 });
    take({ type: 'drain', phase: 'end', ...DRAINED, finished: 2, completed: 0 });
    expect(aboveDebug()).toEqual([]);
    expect(lines).toEqual([
      'debug READY → IDLE: the connection to a ended after 3.0 s',
      'debug IDLE → CONNECTING',
      'debug connection replaced: maximum age reached',
      'debug connection replaced: new credentials',
      'debug draining: 2 calls running',
      'debug drained: 2 calls finished',
    ]);
  });
});

describe('events', () => {
  it.each<[event: EventBody, level: string | undefined, text: RegExp, fields: object]>([
    [
      { type: 'connectivity', from: 'READY', to: 'IDLE', cause: 'GOAWAY' },
      'debug',
      /^READY → IDLE: GOAWAY$/,
      { from: 'READY', to: 'IDLE', cause: 'GOAWAY' },
    ],
    [
      OUTAGE,
      'debug',
      /^outage: connect ECONNREFUSED/,
      { target: '10.0.0.7:50051', cause: OUTAGE.cause, doctorCommand: DOCTOR, graceMs: 5_100, flapping: false },
    ],
    [
      { ...OUTAGE, flapping: true },
      'warn',
      /^flapping: 3 outages in a minute \(.*check whether the server keeps restarting/,
      {
        event: 'flapping',
        target: '10.0.0.7:50051',
        cause: OUTAGE.cause,
        doctorCommand: DOCTOR,
        graceMs: 5_100,
        outages: 3,
      },
    ],
    [
      { ...END, durationMs: 900.4, failedCalls: 0 },
      'debug',
      /^reconnected after 900 ms, 9 failed attempts; 12 calls waited, 0 failed$/,
      {
        target: '10.0.0.7:50051',
        durationMs: 900,
        connectAttempts: 9,
        waitedCalls: 12,
        abandonedCalls: 0,
        failedCalls: 0,
      },
    ],
    [
      { type: 'attempt-end', path, attempt: ATTEMPT, reachedServer: 'maybe', next: 'none', reason: 'throttled' },
      'warn',
      /^\/orders\.v1\.Orders\/Get at a:1: UNAVAILABLE: lost; the call may have reached the server and was not retried \(throttled\)$/,
      {
        path,
        code: 'UNAVAILABLE',
        details: 'lost',
        peer: 'a:1',
        attempt: 2,
        durationMs: 5,
        superseded: undefined,
        reachedServer: 'maybe',
        next: 'none',
        reason: 'throttled',
      },
    ],
    [
      {
        ...makeAttemptEnd({ path, reachedServer: 'yes', reason: 'committed' }),
        attempt: { ...ATTEMPT, details: 'Connection lost after the response had started (UNAVAILABLE: dropped)' },
      },
      'warn',
      /^\/orders\.v1\.Orders\/Get at a:1: UNAVAILABLE: Connection lost after .*; neither retried nor resumed; to continue a stream after a lost connection or a reset, use resumable\(\) from nestjs-resilient-grpc\/operators$/,
      {
        path,
        code: 'UNAVAILABLE',
        details: 'Connection lost after the response had started (UNAVAILABLE: dropped)',
        peer: 'a:1',
        attempt: 2,
        durationMs: 5,
        superseded: undefined,
        reachedServer: 'yes',
        next: 'none',
        reason: 'committed',
      },
    ],
    [
      { ...CIRCUIT, from: 'closed', to: 'open' },
      'warn',
      /circuit open for 5 s: 11 of 20 attempts failed; calls fail immediately/,
      { path, from: 'closed', to: 'open', reason: 'too-many-failures', failures: 11, total: 20, breakMs: 5_000 },
    ],
    [
      { ...CIRCUIT, from: 'open', to: 'half-open' },
      'debug',
      /circuit half-open; one call is admitted/,
      { path, from: 'open', to: 'half-open', reason: 'too-many-failures', failures: 11, total: 20, breakMs: 5_000 },
    ],
    [
      { ...CIRCUIT, from: 'half-open', to: 'closed' },
      'log',
      /circuit closed; calls are admitted/,
      { path, from: 'half-open', to: 'closed', reason: 'too-many-failures', failures: 11, total: 20, breakMs: 5_000 },
    ],
    [
      {
        type: 'concurrency-limit',
        path,
        from: 40,
        to: 19,
        latencyMs: 120.4,
        unloadedLatencyMs: 50.2,
        overloaded: false,
      },
      'log',
      /Get: concurrency limit reduced from 40 to 19: calls take 120 ms, versus 50 ms without load; calls above the limit are queued, up to maxQueuedCalls$/,
      { path, from: 40, to: 19, latencyMs: 120.4, unloadedLatencyMs: 50.2, overloaded: false },
    ],
    [
      {
        type: 'concurrency-limit',
        path: undefined,
        from: 20,
        to: 10,
        latencyMs: 51,
        unloadedLatencyMs: 50,
        overloaded: true,
      },
      'log',
      /concurrency limit reduced from 20 to 10: more than 10% of the latest calls timed out or were refused; calls above the limit are queued, up to maxQueuedCalls$/,
      { from: 20, to: 10, latencyMs: 51, unloadedLatencyMs: 50, overloaded: true },
    ],
    [
      { type: 'concurrency-limit', path, from: 19, to: 38, latencyMs: 51, unloadedLatencyMs: 50, overloaded: false },
      'debug',
      /Get: concurrency limit raised from 19 to 38$/,
      { path, from: 19, to: 38, latencyMs: 51, unloadedLatencyMs: 50, overloaded: false },
    ],
    [
      { type: 'stream-resumed', path, resumes: 2, gapMs: 80.2, progress: true },
      'debug',
      /stream resumed after 80 ms \(2 resumes so far\)/,
      { path, resumes: 2, gapMs: 80 },
    ],
    [
      {
        type: 'unanswered-calls',
        address: '10.0.0.1:50051',
        paths: { '/a.A/Get': 2, '/a.A/List': 1 },
        oldestMs: 24_000.4,
        remedy: 'nothing received on the connection for 24.0 s: the server is stuck',
      },
      'warn',
      /^10\.0\.0\.1:50051 has not answered 2 calls to \/a\.A\/Get, 1 call to \/a\.A\/List for up to 24 s; .*: set timeoutMs; nothing received on the connection for 24\.0 s: the server is stuck$/,
      { address: '10.0.0.1:50051', calls: 3, oldestMs: 24_000 },
    ],
    [
      { type: 'unread-stream', path, openMs: 60_000, unreadMs: 30_000, openedAt: 'feed.ts:7' },
      'warn',
      /stream open for 60 s, unread for 30 s; opened at feed\.ts:7$/,
      { path, openMs: 60_000, unreadMs: 30_000, openedAt: 'feed.ts:7' },
    ],
    [
      { type: 'requests-burst', path, messages: 12_000 },
      'warn',
      /emitted 12000 requests at once.*pass an Iterable/,
      { path, messages: 12_000 },
    ],
    [
      { type: 'throttle-too-small', maxTokens: 10, inFlight: 50 },
      'warn',
      /allows no retry: 50 calls are in flight.*write maxTokens: 150 or more/,
      { maxTokens: 10, inFlight: 50 },
    ],
    [
      { type: 'keepalive-throttled', keepaliveTimeMs: 20_000 },
      'warn',
      /too_many_pings.*now pinging every 20 s.*5 minutes by default.*to the minimum of the server/,
      { keepaliveTimeMs: 20_000 },
    ],
    [
      { type: 'addresses-limited', reported: 4_000, used: 1_000 },
      'warn',
      /^resolver reported 4000 addresses; the client uses 1000; put a load balancer in front of the servers/,
      { reported: 4_000, used: 1_000 },
    ],
    [
      { type: 'addresses-changed', added: ['a:1', 'b:1'], removed: ['c:1'], total: 4 },
      'debug',
      /^addresses changed: added a:1, b:1; removed c:1; 4 in use$/,
      { added: 2, removed: 1, total: 4 },
    ],
    [
      { type: 'addresses-changed', added: ['a:1', 'b:1', 'c:1', 'd:1', 'e:1', 'f:1', 'g:1'], removed: [], total: 9 },
      'debug',
      /^addresses changed: added a:1, b:1, c:1, d:1, e:1, 2 others; 9 in use$/,
      { added: 7, removed: 0, total: 9 },
    ],
    [
      { type: 'lookup-failed', addresses: 3 },
      'warn',
      /DNS lookup failed; the client keeps its 3 addresses and resolves the name again; check the name/,
      { addresses: 3 },
    ],
    [
      {
        type: 'endpoint-watch',
        change: 'failed',
        cause: 'cannot watch EndpointSlices at https://api: 403',
        remedy: "grant the permission: echo '{}' | kubectl apply -f -",
        addresses: 3,
      },
      'warn',
      /: cannot watch EndpointSlices at https:\/\/api: 403; the client keeps its 3 addresses, and the request is repeated at least every 30 s; grant the permission: echo '\{\}'/,
      {
        change: 'failed',
        cause: 'cannot watch EndpointSlices at https://api: 403',
        addresses: 3,
        remedy: "grant the permission: echo '{}' | kubectl apply -f -",
      },
    ],
    [
      { type: 'endpoint-watch', change: 'failed', cause: 'cannot watch', addresses: 0 },
      'warn',
      /: cannot watch; no endpoints are known, and the request is repeated at least every 30 s$/,
      { change: 'failed', cause: 'cannot watch', addresses: 0 },
    ],
    [
      { type: 'endpoint-watch', change: 'restored', failedMs: 12_000.4 },
      'log',
      /: endpoint watch restored after 12 s$/,
      { change: 'restored', failedMs: 12_000 },
    ],
    [
      { type: 'connection-replaced', reason: 'load-balancing' },
      'debug',
      /load balancing changed/,
      { reason: 'load-balancing' },
    ],
    [{ type: 'connection-replaced', reason: 'age' }, 'debug', /maximum age reached/, { reason: 'age' }],
    [
      {
        type: 'connection-replaced',
        reason: 'suspicion',
        address: 'a:1',
        silentMs: 12_340.2,
        timeouts: 3,
        by: 'new-channel',
      },
      'warn',
      /^dead connection to a:1 closed: no bytes received for 12\.3 s, 3 calls timed out, and a probe was not answered; calls use a new connection/,
      { reason: 'suspicion', address: 'a:1', silentMs: 12_340, timeouts: 3, by: 'new-channel' },
    ],
    [
      { type: 'drain', phase: 'begin', ...DRAINED, running: 3 },
      'debug',
      /draining: 3 calls running/,
      { phase: 'begin', running: 3 },
    ],
    [
      { type: 'drain', phase: 'end', ...DRAINED },
      'debug',
      /drained: 1 call finished, 2 streams completed$/,
      { phase: 'end', finished: 1, failed: 0, completed: 2, ended: 0, cancelled: 0, durationMs: 80 },
    ],
    [
      { type: 'drain', phase: 'end', ...DRAINED, finished: 3, failed: 2 },
      'debug',
      /drained: 3 calls finished \(2 failed\), 2 streams completed$/,
      { phase: 'end', finished: 3, failed: 2, completed: 2, ended: 0, cancelled: 0, durationMs: 80 },
    ],
    [
      { type: 'drain', phase: 'end', ...DRAINED, ended: 3 },
      'debug',
      /drained: 1 call finished, 2 streams completed, 3 ended by onDrain$/,
      { phase: 'end', finished: 1, failed: 0, completed: 2, ended: 3, cancelled: 0, durationMs: 80 },
    ],
    [
      { type: 'drain', phase: 'end', ...DRAINED, cancelled: 4, cutOffByPath: { '/a.B/M': 1, '/a.B/N': 2 } },
      'warn',
      /, 4 cut off \(at the timeout: 2 calls to \/a\.B\/N, 1 call to \/a\.B\/M\)$/,
      { phase: 'end', finished: 1, failed: 0, completed: 2, ended: 0, cancelled: 4, durationMs: 80 },
    ],
    [
      { type: 'connection', change: 'connected', address: 'a:1', callPath: { direct: true } },
      'debug',
      /^connected to a:1$/,
      { change: 'connected', address: 'a:1', direct: true },
    ],
    [
      {
        type: 'connection',
        change: 'connected',
        address: 'a:1',
        callPath: { direct: false, reason: 'send-compression' },
      },
      'debug',
      /^connected to a:1; calls pass through grpc-js's channel \(send-compression\)$/,
      { change: 'connected', address: 'a:1', direct: false, reason: 'send-compression' },
    ],
    [
      { type: 'connection', change: 'failed', address: 'a:1', cause: 'refused' },
      'debug',
      /^could not connect to a:1: refused$/,
      { change: 'failed', address: 'a:1', cause: 'refused' },
    ],
    [
      { type: 'connection', change: 'failed', cause: 'no such name' },
      'debug',
      /^could not connect: no such name$/,
      { change: 'failed', address: undefined, cause: 'no such name' },
    ],
    [
      { type: 'connection', change: 'ended', address: 'a:1', livedMs: 3_000.2, reason: 'GOAWAY NO_ERROR' },
      'debug',
      /^connection to a:1 ended after 3 s: GOAWAY NO_ERROR$/,
      { change: 'ended', address: 'a:1', livedMs: 3_000, reason: 'GOAWAY NO_ERROR' },
    ],
    [
      { type: 'connection', change: 'closed', address: 'a:1', livedMs: 3_000, reason: 'subchannel shutdown' },
      'debug',
      /^connection to a:1 closed by this client after 3 s$/,
      { change: 'closed', address: 'a:1', livedMs: 3_000, reason: 'subchannel shutdown' },
    ],
    [
      {
        type: 'endpoint',
        change: 'ejected',
        address: 'a:1',
        evidence: { reason: 'consecutive-failures', failures: 5 },
        forMs: 30_000.4,
        ejections: 1,
      },
      'warn',
      /^endpoint a:1 ejected for 30 s: 5 consecutive attempts failed; calls use the other endpoints$/,
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
        type: 'endpoint',
        change: 'spared',
        address: 'a:1',
        evidence: { reason: 'latency', medianMs: 500.123, othersMs: 20 },
        limit: 'panic-threshold',
      },
      'debug',
      /^endpoint a:1 not ejected \(panic-threshold\): median latency 500 ms, versus 20 ms at the other endpoints$/,
      {
        change: 'spared',
        address: 'a:1',
        reason: 'latency',
        medianMs: 500.12,
        othersMs: 20,
        limit: 'panic-threshold',
      },
    ],
    [
      { type: 'endpoint', change: 'returned', address: 'a:1', reason: 'panic', ejectedMs: 2_000 },
      'log',
      /^endpoint a:1 gets calls again 2 s after its ejection, earlier than planned, because too few other endpoints are usable$/,
      { change: 'returned', address: 'a:1', reason: 'panic', ejectedMs: 2_000 },
    ],
    [
      { type: 'endpoint', change: 'health', address: 'a:1', from: 'serving', to: 'not-serving' },
      'log',
      /^endpoint a:1 does not report SERVING and gets no calls$/,
      { change: 'health', address: 'a:1', from: 'serving', to: 'not-serving' },
    ],
    [
      { type: 'endpoint', change: 'health', address: 'a:1', from: 'pending', to: 'serving' },
      'debug',
      /^endpoint a:1 reports SERVING and gets calls$/,
      { change: 'health', address: 'a:1', from: 'pending', to: 'serving' },
    ],
    [{ type: 'call-start', path }, undefined, /^$/, {}],
  ])('writes the expected level, message, and fields for the event %j', (event, level, text, fields) => {
    const { kept, take } = make();
    take(event);
    const line = kept.at(-1);
    expect(line?.level).toBe(level);
    expect(String(line ?? '')).toMatch(text);
    if (line !== undefined) expect(line.fields).toEqual({ client: 'orders', event: event.type, ...fields });
  });

  it('logs each kind of change of a flapping endpoint at most once a minute', () => {
    const { clock, kept, take } = make();
    const evidence = { reason: 'consecutive-failures', failures: 5 } as const;
    for (let flaps = 1; flaps <= 4; flaps++) {
      take({ type: 'endpoint', change: 'ejected', address: 'a:1', evidence, forMs: 1_000, ejections: flaps });
      clock.advance(1_000);
      take({ type: 'endpoint', change: 'returned', address: 'a:1', reason: 'expired', ejectedMs: 1_000 });
      clock.advance(1_000);
    }
    expect(kept.map(({ fields }) => fields['change'])).toEqual(['ejected', 'returned']);
    clock.advance(60_000);
    expect(kept.map(({ fields }) => fields['change'])).toEqual(['ejected', 'returned', 'ejected', 'returned']);
    expect(kept[2]?.fields).toMatchObject({ ejections: 4 });
  });

  describe('an unreachable endpoint', () => {
    const address = '10.0.0.8:50051';
    const LOST = {
      type: 'reachability',
      change: 'lost',
      address,
      cause: `${address} refused the connection\nAuthorization: Bearer abcdefghijklmnop`,
      remedy: 'check the server',
      failedMs: 60_000.4,
    } as const;
    const text =
      `endpoint ${address} unreachable for 60 s: ${address} refused the connection\\u000aAuthorization: ***; calls use other connections; ` +
      `check the server; to diagnose, run: ${DOCTOR}`;

    it('logs an unreachable endpoint with a remedy, and logs that it is connected again', () => {
      const { kept, take, aboveDebug } = make();
      take(LOST);
      take({ type: 'reachability', change: 'restored', address, failedMs: 90_000 });
      expect(aboveDebug()).toEqual([`warn ${text}`, `log endpoint ${address} is connected again after 90 s`]);
      const event = { client: 'orders', event: 'reachability', address };
      const cause = `${address} refused the connection\\u000aAuthorization: ***`;
      expect(kept.map(({ fields }) => fields)).toEqual([
        { ...event, change: 'lost', cause, failedMs: 60_000 },
        { ...event, change: 'restored', failedMs: 90_000 },
      ]);
    });

    it('logs an unreachable endpoint in a combined line even if the endpoint gets calls again in the meantime', () => {
      const { clock, take, aboveDebug } = make();
      take({ ...OUTAGE });
      take({ ...END });
      take({ ...LOST, address: '10.0.0.9:50051' });
      take(LOST);
      take({ type: 'endpoint', change: 'returned', address, reason: 'expired', ejectedMs: 30_000 });
      clock.advance(60_000);
      expect(aboveDebug().join('\n')).toContain(text);
    });
  });

  it('builds no debug line of the client log if the debug level is off', () => {
    const { kept, enabled, take } = make();
    enabled.debug = false;
    take({ type: 'connectivity', from: 'READY', to: 'IDLE' });
    take(makeAttemptEnd({ next: 'retry' }));
    take({ type: 'stream-resumed', path, resumes: 2, gapMs: 80, progress: true });
    expect(kept).toEqual([]);
  });

  it('truncates and escapes the remedy of a failed endpoint watch', () => {
    const { kept, take } = make();
    const remedy = `grant\n\u001b[31m${'x'.repeat(3_000)}`;
    take({ type: 'endpoint-watch', change: 'failed', cause: 'cannot watch', remedy, addresses: 0 });
    const escaped = /grant\\u000a\\u001b\[31mx{1900,2000}…$/;
    expect(kept.at(-1)?.msg).toMatch(escaped);
    expect(kept.at(-1)?.fields['remedy']).toMatch(escaped);
  });

  it('escapes control characters and masks secrets in logged text from peers', () => {
    const { clock, calls, kept, take } = make();
    const evil = 'denied\u001b[31m\nFAKE LINE, authorization: Bearer hush-hush and {"token":"hush"}';
    calls.waiting = 1;
    take({ ...OUTAGE, cause: evil });
    clock.advance(6_000);
    take({ ...OUTAGE, cause: evil, flapping: true });
    for (const next of ['none', 'retry', 'resume'] as const)
      take(makeAttemptEnd({ attempt: { ...ATTEMPT, details: evil }, next }));
    take({ type: 'connectivity', from: 'READY', to: 'IDLE', cause: evil });
    expect(kept.length).toBeGreaterThan(6);
    for (const line of kept) {
      expect(JSON.stringify(line)).not.toContain('hush');
      for (const text of [line.msg, ...Object.values(line.fields)]) expect(String(text)).not.toMatch(/[\u0000-\u001f]/);
    }
  });
});

describe('close', () => {
  it('writes pending summaries of the client log and clears all timers on close()', () => {
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
