import { describe, expect, it } from 'vitest';
import type { GrpcClientEvent } from '../../call/call-event.js';
import type { EventBody } from '../../call/event-hub.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { OutageLog } from './outage-log.js';

function make() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const fields: object[] = [];
  const calls = { waiting: 0, failed: 0 };
  const outages = new OutageLog(
    '10.0.0.7:50051',
    () => calls,
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
  const loud = () => lines.filter((line) => !line.startsWith('debug '));
  return { clock, lines, fields, calls, take, loud };
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
    take({ ...END, durationMs: 5_000, failedCalls: 0 });
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
    take({ ...END, waitedCalls: 0, failedCalls: 0 });
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
    take({ ...END, connectAttempts: 1, waitedCalls: 1, failedCalls: 0 });
    expect(loud().at(-1)).toBe('log back after 7.3 s, 1 try; 1 call held, 0 failed');
  });

  it('whose cause is a text of the other side is told on one line', () => {
    const { clock, calls, take, lines } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, cause: 'bad\ncertificate\u001b[31m' });
    clock.advance(5_000);
    for (const line of lines) expect(line).toContain('bad\\u000acertificate\\u001b[31m');
  });

  it('tells how many calls were given up while they waited', () => {
    const { clock, calls, fields, take, loud } = make();
    calls.waiting = 77;
    take(OUTAGE);
    clock.advance(5_000);
    take({ ...END, waitedCalls: 77, abandonedCalls: 40, failedCalls: 0 });
    expect(loud().at(-1)).toBe('log back after 7.3 s, 9 tries; 77 calls held, 40 gave up, 0 failed');
    expect(fields.at(-1)).toMatchObject({ waitedCalls: 77, abandonedCalls: 40, failedCalls: 0 });
  });

  it('in which calls were given up that nobody had seen waiting has its end told', () => {
    const { clock, take, loud } = make();
    take(OUTAGE);
    clock.advance(2_000);
    take({ ...END, durationMs: 2_000, abandonedCalls: 2, failedCalls: 0 });
    expect(loud()).toEqual(['log back after 2 s, 9 tries; 12 calls held, 2 gave up, 0 failed']);
  });

  it('that is the second within a minute is told when calls fail, then, and at its end', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    take(OUTAGE);
    clock.advance(3_000);
    take({ ...END, durationMs: 3_000 });
    expect(loud().map((line) => line.slice(0, 15))).toEqual(['warn outage: co', 'log back after ']);
    clock.advance(1_500);
    take(OUTAGE);
    clock.advance(5_099);
    expect(loud()).toHaveLength(2);
    clock.advance(1);
    expect(loud()[2]).toMatch(/^warn no connection for 5.1 s: .*; calls fail at once/);
    clock.advance(9_000);
    take({ ...END, durationMs: 14_100 });
    expect(loud().slice(3)).toEqual(['log back after 14.1 s, 9 tries; 12 calls held, 3 failed']);
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
    clock.advance(59_999);
    expect(loud()).toHaveLength(1);
    clock.advance(1);
    expect(loud()[1]).toMatch(/^warn no connection for 60 s: .*; calls fail at once/);
    clock.advance(600_000);
    take({ ...END, durationMs: 660_000 });
    expect(loud().slice(2)).toEqual(['log back after 660 s, 9 tries; 12 calls held, 3 failed']);
  });

  it('has its outages told by themselves once a minute, each with its end', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    const reported: [atMs: number, line: string][] = [];
    for (let second = 0; second < 180; second += 4) {
      take({ ...OUTAGE, flapping: true, graceMs: 0 });
      for (const half of [1, 2]) {
        clock.advance(1_500);
        if (half === 2) take({ ...END, durationMs: 3_000 });
        for (const line of loud().slice(reported.length)) reported.push([clock.now(), line]);
      }
      clock.advance(1_000);
    }
    const own = reported.filter(([, line]) => !line.startsWith('warn flapping'));
    expect(own.map(([, line]) => line.slice(0, 15))).toEqual(
      [1, 2].flatMap(() => ['warn no connect', 'log back after ']),
    );
    const begins = own.filter(([, line]) => line.startsWith('warn')).map(([atMs]) => atMs);
    for (const [i, at] of begins.slice(1).entries()) expect(at - begins[i]!).toBeGreaterThanOrEqual(60_000);
  });

  it('and stays away soon after that is told within the minute', () => {
    const { clock, calls, take, loud } = make();
    calls.waiting = 1;
    take({ ...OUTAGE, flapping: true, graceMs: 0 });
    clock.advance(3_000);
    take(END);
    take({ ...OUTAGE, flapping: true, graceMs: 0 });
    clock.advance(56_999);
    expect(loud()).toHaveLength(1);
    clock.advance(1);
    expect(loud().at(-1)).toMatch(/^warn no connection for 57 s: /);
  });
});
