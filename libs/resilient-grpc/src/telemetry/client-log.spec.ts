import { describe, expect, it } from 'vitest';
import type { EventBody } from '../call/event-hub.js';
import { VirtualClock } from '../testing/virtual-clock.js';
import { ClientLog } from './client-log.js';
import type { LogLine } from './log-line.js';

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const kept: LogLine[] = [];
  const calls = { waiting: 0, failed: 0 };
  const seen = { debug: true };
  const write = (level: string) => (line: LogLine) => {
    kept.push(line);
    lines.push(`${level} ${String(line)}`);
  };
  const sink = { debug: write('debug'), log: write('log'), warn: write('warn') };
  const client = { name: 'orders', target: '10.0.0.7:50051', hurt: () => calls, debugs: () => seen.debug };
  const log = new ClientLog(sink, client, clock);
  const take = (body: EventBody) => log.take({ client: 'orders', at: clock.epoch(), ...body });
  const loud = () => lines.filter((line) => !line.startsWith('debug '));
  return { clock, lines, kept, calls, seen, log, take, loud };
}

const OUTAGE = {
  type: 'outage-start',
  cause: 'connect ECONNREFUSED 10.0.0.7:50051',
  graceMs: 5_100,
  flapping: false,
} as const;
const END = { type: 'outage-end', durationMs: 7_300, tries: 9, held: 12, left: 0, failed: 3 } as const;

const failed = (change: Partial<Extract<EventBody, { type: 'attempt-end' }>> = {}) =>
  ({
    type: 'attempt-end',
    path: '/orders.v1.Orders/Create',
    attempt: { number: 1, code: 14, details: 'Connection lost after sending', durationMs: 5, hedge: false },
    reachedServer: 'maybe',
    next: 'none',
    because: 'not-safe-to-repeat',
    ...change,
  }) as const;

describe('an outage', () => {
  it('of less than a second is nobody’s business', () => {
    const { clock, calls, take, loud, lines } = make();
    calls.waiting = 5;
    take(OUTAGE);
    clock.advance(990);
    take({ ...END, durationMs: 990 });
    clock.advance(120_000);
    expect(loud()).toEqual([]);
    expect(lines.length).toBeGreaterThan(0);
  });

  it('is one warning when it has lasted and somebody waits, one when its grace is over, and one line at its end', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 12;
    take(OUTAGE);
    clock.advance(5_000);
    expect(loud()).toEqual(['warn outage: connect ECONNREFUSED 10.0.0.7:50051; calls wait up to 5.1 s (12 waiting)']);
    clock.advance(100);
    expect(loud().slice(1)).toEqual([
      'warn no connection for 5.1 s: connect ECONNREFUSED 10.0.0.7:50051; calls fail at once (UNAVAILABLE) until there is one; ' +
        'look at the server, the client goes on trying',
    ]);
    clock.advance(60_000);
    take(END);
    expect(loud().slice(2)).toEqual(['log back after 7.3 s, 9 tries; 12 calls held, 3 failed']);
  });

  it('has each of its lines once, also where a timer is early by a hair', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 12;
    take({ ...OUTAGE, graceMs: 5_100.6 });
    clock.advance(2_000);
    const now = clock.now.bind(clock);
    clock.now = () => now() - 3;
    clock.advance(8_000);
    expect(loud().map((line) => line.slice(0, 19))).toEqual(['warn outage: connec', 'warn no connection ']);
  });

  it('that ends inside its grace is not told as one that did not', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 12;
    take(OUTAGE);
    clock.advance(5_000);
    take({ ...END, durationMs: 5_000, failed: 0 });
    clock.advance(60_000);
    expect(loud().slice(1)).toEqual(['log back after 5 s, 9 tries; 12 calls held, 0 failed']);
  });

  it('while nobody waits is told as soon as somebody does', () => {
    const { clock, calls, take, loud } = make();
    take(OUTAGE);
    clock.advance(60_000);
    expect(loud()).toEqual([]);
    calls.waiting = 1;
    clock.advance(5_000);
    expect(loud()).toHaveLength(1);
  });

  it('that was not told begins and ends in silence', () => {
    const { clock, take, loud } = make();
    take(OUTAGE);
    clock.advance(30_000);
    take({ ...END, held: 0, failed: 0 });
    clock.advance(120_000);
    expect(loud()).toEqual([]);
  });

  it('in which calls do not wait but fail is told, as one in which they wait', () => {
    const { clock, calls, take, loud } = make();
    calls.failed = 7;
    take({ ...OUTAGE, graceMs: 0 });
    clock.advance(1_500);
    expect(loud()).toEqual([]);
    calls.failed = 8;
    clock.advance(1_500);
    expect(loud()).toEqual([expect.stringMatching(/^warn no connection for 3 s: .*calls fail at once/)]);
    take(END);
    expect(loud()[1]).toMatch(/^log back after/);
  });

  it('in which some calls wait and some do not says so', () => {
    const { clock, calls, take, loud } = make();
    calls.failed = 7;
    take(OUTAGE);
    Object.assign(calls, { waiting: 2, failed: 10 });
    clock.advance(1_500);
    expect(loud()[0]).toMatch(/calls wait up to 5\.1 s \(2 waiting, 3 failed\)$/);
  });

  it('that calls come to when its grace is over long since is told as what it is', () => {
    const { clock, calls, take, loud } = make();
    take(OUTAGE);
    clock.advance(3_600_000);
    calls.failed = 1;
    clock.advance(1_500);
    expect(loud()).toEqual([expect.stringMatching(/^warn no connection for 360\d s: /)]);
    clock.advance(3_600_000);
    expect(loud()).toHaveLength(1);
  });

  it('in which calls failed that nobody had seen waiting has its end told', () => {
    const { clock, take, loud } = make();
    take(OUTAGE);
    clock.advance(2_000);
    take({ ...END, durationMs: 2_000 });
    expect(loud()).toEqual(['log back after 2 s, 9 tries; 12 calls held, 3 failed']);
  });

  it('names the target where its cause does not', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, cause: 'certificate has expired' });
    clock.advance(5_100);
    for (const line of loud()) expect(line).toContain(': 10.0.0.7:50051: certificate has expired; calls ');
  });

  it('says one try and one call where there was one', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    take(OUTAGE);
    clock.advance(5_000);
    take({ ...END, tries: 1, held: 1, failed: 0 });
    expect(loud().at(-1)).toBe('log back after 7.3 s, 1 try; 1 call held, 0 failed');
  });

  it('whose cause is a text of the other side is told on one line', () => {
    const { clock, calls, take, lines } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, cause: 'bad\ncertificate\u001b[31m' });
    clock.advance(5_000);
    for (const line of lines) expect(line).toContain('bad\\u000acertificate\\u001b[31m');
  });
});

describe('a server that comes and goes', () => {
  it('is told once, then in one line a minute', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    for (let second = 0; second < 150; second++) {
      take({ ...OUTAGE, flapping: true });
      clock.advance(500);
      take({ ...END, durationMs: 500 });
      clock.advance(500);
    }
    expect(loud()[0]).toMatch(/^warn flapping: three outages in a minute \(connect ECONNREFUSED/);
    expect(loud()[1]).toBe('warn flapping: 59 more outages in the last minute; 720 calls held, 180 failed');
    expect(loud()[2]).toBe('warn flapping: 60 more outages in the last minute; 720 calls held, 180 failed');
    expect(loud()).toHaveLength(3);
    clock.advance(600_000);
    expect(loud()).toHaveLength(4);
    expect(clock.pending).toBe(0);
    take({ ...OUTAGE, flapping: true });
    expect(loud()[4]).toBe(loud()[0]);
  });

  it('and then stays away is told as an outage again, and so is its end', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, flapping: true, graceMs: 3_000 });
    clock.advance(2_999);
    expect(loud()).toHaveLength(1);
    clock.advance(1);
    expect(loud()[1]).toMatch(/^warn no connection for 3 s: .*; calls fail at once/);
    clock.advance(600_000);
    take({ ...END, durationMs: 603_000 });
    expect(loud().slice(2)).toEqual(['log back after 603 s, 9 tries; 12 calls held, 3 failed']);
  });

  /** Most lines above debug that began in any one minute. */
  function busiest(times: readonly number[]) {
    return Math.max(0, ...times.map((from) => times.filter((at) => at >= from && at < from + 60_000).length));
  }

  it.each([
    [250, 250],
    [1_600, 400],
    [3_000, 3_000],
    [6_000, 2_000],
    [10_000, 10_000],
    [15_000, 5_000],
    [5, 29_000],
    [25_000, 25_000],
    [2_000, 45_000],
  ])(
    'is at most four lines a minute, calls that fail and circuits with it: away for %i ms, there for %i ms',
    (away, there) => {
      const { clock, calls, take, log, kept } = make();
      const times: number[] = [];
      const past: number[] = [];
      // Told while time passes: so finely looked that each line has its time.
      const pass = (ms: number) => {
        for (let left = ms; left > 0; left -= 100) {
          count(() => {
            clock.advance(Math.min(left, 100));
          });
        }
      };
      const count = (task: () => void) => {
        const before = kept.length;
        task();
        for (const line of kept.slice(before)) if (line.level !== 'debug') times.push(clock.now());
      };
      calls.waiting = 3;
      while (clock.now() < 400_000) {
        count(() => {
          for (const path of ['/a.A/Create', '/a.A/Pay', '/a.A/Ship']) {
            for (const because of ['not-safe-to-repeat', 'throttled']) take(failed({ path, because }));
          }
        });
        const start = clock.now();
        const flapping = past.filter((endedAt) => start - endedAt < 60_000).length >= 2;
        count(() => take({ ...OUTAGE, flapping, graceMs: flapping ? 0 : 5_000 }));
        pass(away / 2);
        count(() => {
          for (const path of ['/a.A/Create', '/a.A/Pay', '/a.A/Ship']) {
            take({
              type: 'circuit',
              path,
              from: 'closed',
              to: 'open',
              because: 'x',
              failures: 20,
              total: 30,
              breakMs: 5,
            });
          }
        });
        pass(away / 2);
        count(() => take({ ...END, durationMs: away }));
        past.push(clock.now());
        pass(there);
      }
      expect(busiest(times)).toBeLessThanOrEqual(4);
      expect(times.length).toBeGreaterThan(6);
      // Nothing is lost but what was told: at the end the log is silent.
      log.close();
      expect(clock.pending).toBe(0);
    },
  );

  it('has what was too much told together within the minute, the latest of each kind', () => {
    const { clock, calls, take, loud, kept } = make();
    calls.waiting = 1;
    for (const _outage of [1, 2]) {
      take(OUTAGE);
      clock.advance(10_000);
      take({ ...END, durationMs: 10_000 });
      clock.advance(10_000);
    }
    expect(loud().map((line) => line.slice(0, 15))).toEqual([
      'warn outage: co',
      'warn no connect',
      'log back after ',
      'warn outage: co',
    ]);
    clock.advance(60_000);
    expect(loud()).toHaveLength(5);
    expect(loud()[4]).toMatch(
      /^warn no connection for 5\.1 s: .* \| back after 10 s, 9 tries; 12 calls held, 3 failed$/,
    );
    expect(kept.at(-1)?.fields).toMatchObject({ client: 'orders', event: 'outage-end', held: 12, lines: 2 });
  });
});

describe('calls', () => {
  it('that may have reached the server and were not repeated are counted by method and reason', () => {
    const { clock, take, loud } = make();
    for (let i = 0; i < 50; i++) take(failed());
    take(failed({ path: '/orders.v1.Orders/Watch' }));
    expect(loud()).toEqual([
      'warn /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; it may have reached the server and was not ' +
        'repeated (not-safe-to-repeat); look whether it was done, or declare it idempotent if it may be sent twice',
    ]);
    take(failed({ because: 'throttled' }));
    clock.advance(60_000);
    expect(loud().slice(1)).toEqual([
      'warn 51 more calls may have reached the server and were not repeated, in the last minute: 49 of /orders.v1.Orders/Create ' +
        '(not-safe-to-repeat), 1 of /orders.v1.Orders/Watch (not-safe-to-repeat), 1 of /orders.v1.Orders/Create (throttled); ' +
        'the latest: /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending',
    ]);
  });

  it('of one method and reason have its text again, with the count; and at which server', () => {
    const { clock, take, loud } = make();
    const attempt = {
      number: 1,
      code: 14,
      details: 'lost',
      durationMs: 5,
      hedge: false,
      peer: '10.0.0.7:50051',
    } as const;
    for (let i = 0; i < 50; i++) take(failed({ attempt, because: 'throttled' }));
    clock.advance(60_000);
    expect(loud()[0]).toMatch(
      /^warn \/orders\.v1\.Orders\/Create at 10\.0\.0\.7:50051: UNAVAILABLE: lost; it may have .*\(throttled\)$/,
    );
    expect(loud().slice(1)).toEqual([`${loud()[0]!} (49 more in the last minute)`]);
    clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });

  it('of many methods are one line, that names the most', () => {
    const { clock, take, loud } = make();
    for (let i = 0; i < 100; i++) take(failed({ path: `/a.A/M${i % 10}` }));
    clock.advance(60_000);
    expect(loud()).toHaveLength(2);
    expect(loud()[1]).toMatch(/99 more calls .*: 10 of \/a\.A\/M1 .*, 5 more methods and reasons; the latest/);
  });

  it.each([
    ['answered by the server', { reachedServer: 'yes', because: 'fatal-status' }],
    ['never sent', { reachedServer: 'no', because: 'local' }],
    ['ended by their caller', { because: 'cancelled' }],
    ['ended by their deadline', { because: 'deadline' }],
  ] as const)('%s are their callers’ matter', (_what, change) => {
    const { take, loud } = make();
    take(failed(change));
    expect(loud()).toEqual([]);
  });

  it('that go on are told to debug, with the reason', () => {
    const { take, lines } = make();
    take(failed({ next: 'retry', because: 'connection-lost' }));
    take(failed({ next: 'wait', because: 'unsent' }));
    expect(lines).toEqual([
      'debug /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; is retried (connection-lost)',
      'debug /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; waits (unsent)',
    ]);
  });

  it('that succeed are not told at all', () => {
    const { take, lines } = make();
    take(failed({ attempt: { number: 1, code: 0, details: '', durationMs: 5, hedge: false }, because: 'success' }));
    expect(lines).toEqual([]);
  });

  it('cannot write more than a line of what the server says', () => {
    const { take, loud } = make();
    const details = `evil\n${'x'.repeat(10_000)}`;
    take(failed({ attempt: { number: 1, code: 14, details, durationMs: 5, hedge: false } }));
    expect(loud()[0]).not.toContain('\n');
    expect(loud()[0]?.length).toBeLessThan(600);
  });
});

describe('a dead connection', () => {
  const DEAD = {
    type: 'connection-replaced',
    reason: 'suspicion',
    address: '10.0.0.7:50051',
    silentMs: 12_340,
    timeouts: 14,
  } as const;

  it('is one warning: which, how long silent, how many calls, and what was done', () => {
    const { take, loud } = make();
    take({ ...DEAD, by: 'new-channel' });
    expect(loud()).toEqual([
      'warn dead connection to 10.0.0.7:50051 ended: no byte for 12.3 s, 14 calls timed out, and a probe got no answer; ' +
        'calls go over a new one that is READY',
    ]);
  });

  it('of several says who carries the calls', () => {
    const { take, loud } = make();
    take({ ...DEAD, by: 'other-connections' });
    expect(loud()[0]).toMatch(/; calls go to the other backends until it can be connected again$/);
  });
});

describe('what belongs to the ordinary', () => {
  it('is told to debug', () => {
    const { take, lines, loud } = make();
    take({ type: 'connectivity', from: 'READY', to: 'IDLE', cause: 'the connection to a ended after 3.0 s' });
    take({ type: 'connectivity', from: 'IDLE', to: 'CONNECTING' });
    take({ type: 'connection-replaced', reason: 'age' });
    take({ type: 'connection-replaced', reason: 'credentials' });
    take({ type: 'drain', phase: 'begin', running: 2, finished: 0, completed: 0, cancelled: 0, durationMs: 0 });
    take({ type: 'drain', phase: 'end', running: 0, finished: 2, completed: 0, cancelled: 0, durationMs: 80 });
    expect(loud()).toEqual([]);
    expect(lines).toEqual([
      'debug READY → IDLE: the connection to a ended after 3.0 s',
      'debug IDLE → CONNECTING',
      'debug connection replaced: it was old enough',
      'debug connection replaced: new credentials',
      'debug draining: 2 calls running',
      'debug drained in 80 ms: 2 calls finished',
    ]);
  });

  it('is not: a drain that cuts calls off, and pings that are too many', () => {
    const { take, loud } = make();
    take({ type: 'drain', phase: 'end', running: 0, finished: 1, completed: 0, cancelled: 2, durationMs: 10_000 });
    take({ type: 'keepalive-throttled', keepaliveTimeMs: 20_000 });
    expect(loud()[0]).toBe('warn drained in 10 s: 1 call finished, 2 cut off');
    expect(loud()[1]).toContain('too_many_pings');
    expect(loud()[1]).toContain('set keepalive.keepaliveTimeMs to 20000 or more');
  });
});

const path = '/orders.v1.Orders/Get';
const DRAINED = { running: 0, finished: 1, completed: 2, cancelled: 0, durationMs: 80 };
const CIRCUIT = { type: 'circuit', path, because: 'failures', failures: 11, total: 20, breakMs: 5_000 } as const;
const ATTEMPT = { number: 2, code: 14, details: 'gone', durationMs: 5.4, hedge: false, peer: 'a:1' } as const;

describe('each event', () => {
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
      { target: '10.0.0.7:50051', cause: OUTAGE.cause, graceMs: 5_100, flapping: false },
    ],
    [
      { ...OUTAGE, flapping: true },
      'warn',
      /^flapping: three outages in a minute \(.*see whether the server restarts/,
      { event: 'flapping', target: '10.0.0.7:50051', cause: OUTAGE.cause, graceMs: 5_100, outages: 3 },
    ],
    [
      { ...END, durationMs: 900.4, failed: 0 },
      'debug',
      /^back after 900 ms, 9 tries; 12 calls held, 0 failed$/,
      { target: '10.0.0.7:50051', durationMs: 900, tries: 9, held: 12, failed: 0 },
    ],
    [
      { type: 'attempt-end', path, attempt: ATTEMPT, reachedServer: 'maybe', next: 'none', because: 'throttled' },
      'warn',
      /^\/orders\.v1\.Orders\/Get at a:1: UNAVAILABLE: gone; it may have reached the server and was not repeated \(throttled\)$/,
      {
        path,
        code: 'UNAVAILABLE',
        details: 'gone',
        peer: 'a:1',
        attempt: 2,
        durationMs: 5,
        hedge: undefined,
        reachedServer: 'maybe',
        next: 'none',
        because: 'throttled',
      },
    ],
    [
      { ...CIRCUIT, from: 'closed', to: 'open' },
      'warn',
      /circuit open for 5 s: 11 of 20 attempts failed; its calls fail at once/,
      { path, from: 'closed', to: 'open', because: 'failures', failures: 11, total: 20, breakMs: 5_000 },
    ],
    [
      { ...CIRCUIT, from: 'open', to: 'half-open' },
      'debug',
      /circuit half open/,
      { path, from: 'open', to: 'half-open', because: 'failures', failures: 11, total: 20, breakMs: 5_000 },
    ],
    [
      { ...CIRCUIT, from: 'half-open', to: 'closed' },
      'log',
      /circuit closed; calls pass again/,
      { path, from: 'half-open', to: 'closed', because: 'failures', failures: 11, total: 20, breakMs: 5_000 },
    ],
    [
      { type: 'stream-resumed', path, resumes: 2, gapMs: 80.2, progress: true },
      'debug',
      /resumed after 80 ms \(2 times\)/,
      { path, resumes: 2, gapMs: 80 },
    ],
    [
      { type: 'stream-leak', path, openMs: 60_000, unreadMs: 30_000, openedAt: 'feed.ts:7' },
      'warn',
      /open for 60 s, and nobody has read it for 30 s; opened at feed\.ts:7$/,
      { path, openMs: 60_000, unreadMs: 30_000, openedAt: 'feed.ts:7' },
    ],
    [
      { type: 'requests-at-once', path, messages: 12_000 },
      'warn',
      /pushed 12000 requests at once.*give an Iterable/,
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
      /too_many_pings.*set keepalive\.keepaliveTimeMs to 20000 or more/,
      { keepaliveTimeMs: 20_000 },
    ],
    [{ type: 'connection-replaced', reason: 'age' }, 'debug', /it was old enough/, { reason: 'age' }],
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
      /^dead connection to a:1 ended/,
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
      /drained in 80 ms: 1 call finished, 2 streams completed$/,
      { phase: 'end', finished: 1, completed: 2, cancelled: 0, durationMs: 80 },
    ],
    [
      { type: 'drain', phase: 'end', ...DRAINED, cancelled: 4 },
      'warn',
      /, 4 cut off$/,
      { phase: 'end', finished: 1, completed: 2, cancelled: 4, durationMs: 80 },
    ],
    [
      { type: 'connection', change: 'connected', address: 'a:1' },
      'debug',
      /^connected to a:1$/,
      { change: 'connected', address: 'a:1' },
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
      { type: 'connection', change: 'ended', address: 'a:1', livedMs: 3_000.2, because: 'GOAWAY NO_ERROR' },
      'debug',
      /^connection to a:1 ended after 3 s: GOAWAY NO_ERROR$/,
      { change: 'ended', address: 'a:1', livedMs: 3_000, because: 'GOAWAY NO_ERROR' },
    ],
    [
      { type: 'connection', change: 'closed', address: 'a:1', livedMs: 3_000, because: 'subchannel shutdown' },
      'debug',
      /^connection to a:1 closed by this client after 3 s$/,
      { change: 'closed', address: 'a:1', livedMs: 3_000, because: 'subchannel shutdown' },
    ],
    [{ type: 'call-start', path }, undefined, /^$/, {}],
  ])('has its level, its text for people and its fields for programs: %j', (event, level, text, fields) => {
    const { kept, take } = make();
    take(event);
    const line = kept.at(-1);
    expect(line?.level).toBe(level);
    expect(String(line ?? '')).toMatch(text);
    if (line !== undefined) expect(line.fields).toEqual({ client: 'orders', event: event.type, ...fields });
  });

  it('of debug is not built where nobody reads it', () => {
    const { kept, seen, take } = make();
    seen.debug = false;
    take({ type: 'connectivity', from: 'READY', to: 'IDLE' });
    take(failed({ next: 'retry' }));
    take({ type: 'stream-resumed', path, resumes: 2, gapMs: 80, progress: true });
    expect(kept).toEqual([]);
  });

  it('whose text is of the other side cannot put a line, a colour or a secret in the log', () => {
    const { clock, calls, kept, take } = make();
    const evil = 'denied\u001b[31m\nFAKE LINE, authorization: Bearer hush-hush and {"token":"hush"}';
    calls.waiting = 1;
    take({ ...OUTAGE, cause: evil });
    clock.advance(6_000);
    take({ ...OUTAGE, cause: evil, flapping: true });
    for (const next of ['none', 'retry', 'wait'] as const)
      take(failed({ attempt: { ...ATTEMPT, details: evil }, next }));
    take({ type: 'connectivity', from: 'READY', to: 'IDLE', cause: evil });
    expect(kept.length).toBeGreaterThan(6);
    for (const line of kept) {
      expect(JSON.stringify(line)).not.toContain('hush');
      for (const text of [line.msg, ...Object.values(line.fields)]) expect(String(text)).not.toMatch(/[\u0000-\u001f]/);
    }
  });
});

describe('a log that is closed', () => {
  it('says what it has not said yet, and leaves no timer', () => {
    const { clock, calls, take, log, loud } = make();
    calls.waiting = 1;
    take(OUTAGE);
    take({ ...OUTAGE, flapping: true });
    take(failed());
    take(failed());
    log.close();
    expect(loud().at(-1)).toMatch(/\(1 more in the last minute\)$/);
    expect(clock.pending).toBe(0);
  });
});
