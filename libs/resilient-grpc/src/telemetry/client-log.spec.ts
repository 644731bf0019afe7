import { describe, expect, it } from 'vitest';
import type { EventBody } from '../call/event-hub.js';
import { VirtualClock } from '../testing/virtual-clock.js';
import { ClientLog } from './client-log.js';

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const calls = { waiting: 0 };
  const sink = {
    debug: (line: string) => lines.push(`debug ${line}`),
    log: (line: string) => lines.push(`log ${line}`),
    warn: (line: string) => lines.push(`warn ${line}`),
  };
  const log = new ClientLog(sink, () => calls.waiting, clock);
  const take = (body: EventBody) => log.take({ client: 'orders', at: clock.epoch(), ...body });
  const loud = () => lines.filter((line) => !line.startsWith('debug '));
  return { clock, lines, calls, log, take, loud };
}

const OUTAGE = {
  type: 'outage-start',
  cause: 'connect ECONNREFUSED 10.0.0.7:50051',
  graceMs: 5_100,
  flapping: false,
} as const;
const END = { type: 'outage-end', durationMs: 7_300, tries: 9, held: 12, failed: 3 } as const;

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
    expect(loud().slice(1)).toEqual(['warn no connection within 5.1 s: calls fail at once until there is one']);
    clock.advance(60_000);
    take(END);
    expect(loud().slice(2)).toEqual(['log back after 7.3 s, 9 tries; 12 calls held, 3 failed']);
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
    take(END);
    clock.advance(120_000);
    expect(loud()).toEqual([]);
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
    expect(loud()[1]).toBe('warn flapping: 59 more outages in the last minute');
    expect(loud()[2]).toBe('warn flapping: 60 more outages in the last minute');
    expect(loud()).toHaveLength(3);
    clock.advance(600_000);
    expect(loud()).toHaveLength(4);
    expect(clock.pending).toBe(0);
    take({ ...OUTAGE, flapping: true });
    expect(loud()[4]).toBe(loud()[0]);
  });
});

describe('calls', () => {
  it('that may have reached the server and were not repeated are counted by method and reason', () => {
    const { clock, take, loud } = make();
    for (let i = 0; i < 50; i++) take(failed());
    take(failed({ path: '/orders.v1.Orders/Watch' }));
    expect(loud()).toEqual([
      'warn /orders.v1.Orders/Create: UNAVAILABLE: Connection lost after sending; it may have reached the server and was not repeated (not-safe-to-repeat)',
      'warn /orders.v1.Orders/Watch: UNAVAILABLE: Connection lost after sending; it may have reached the server and was not repeated (not-safe-to-repeat)',
    ]);
    clock.advance(60_000);
    expect(loud().slice(2)).toEqual([`${loud()[0]!} (49 more in the last minute)`]);
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
