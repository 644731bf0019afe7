import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { LogLimiter } from './event-log.js';
import type { EventFields, LogLevel } from './library-logger.js';

function make(maxLines?: () => number) {
  const clock = new VirtualClock();
  const written: string[] = [];
  const fields: EventFields[] = [];
  const write = (level: LogLevel, text: string, own: EventFields) => {
    written.push(`${level} ${text}`);
    fields.push(own);
  };
  const limiter = new LogLimiter({ write }, clock, maxLines);
  let built = 0;
  const add = (event: string, subject: string, text: string, state = '', level: LogLevel = 'warn') => {
    const build = () => {
      built += 1;
      return [text, { event, subject }] as const;
    };
    limiter.log({ level, event, subject, key: `${subject} ${state}`, build });
  };
  const circuit = (path: string, state: 'open' | 'closed') =>
    add('circuit', path, `${path}: ${state}`, state, state === 'open' ? 'warn' : 'log');
  return { clock, written, fields, limiter, add, circuit, builds: () => built };
}

describe('repeated lines', () => {
  it('are counted after the first one, and written once a minute with the latest text while they continue', () => {
    const { clock, written, add, builds } = make();
    for (let second = 0; second < 180; second++) {
      for (let i = 0; i < 10; i++) add('failure', '/a', `failure ${String(second)}`);
      clock.advance(1_000);
    }
    expect(written).toEqual([
      'warn failure 0',
      'warn failure 59 (598 more in the last minute, the last one 1 s ago)',
      'warn failure 119 (599 more in the last minute, the last one 1 s ago)',
      'warn failure 179 (599 more in the last minute, the last one 1 s ago)',
    ]);
    expect(builds()).toBe(4);
  });

  it('are written immediately after a minute without repeats, and have no timer then', () => {
    const { clock, written, add } = make();
    add('failure', '/a', 'one');
    clock.advance(60_000);
    expect(clock.pending).toBe(0);
    add('failure', '/a', 'two');
    expect(written).toEqual(['warn one', 'warn two']);
  });

  it('have the number of the other repeats as a field', () => {
    const { clock, fields, add } = make();
    for (let i = 0; i < 3; i++) add('failure', '/a', 'one');
    clock.advance(60_000);
    expect(fields).toEqual([
      { event: 'failure', subject: '/a' },
      { event: 'failure', subject: '/a', repeats: 1 },
    ]);
  });

  it('are written once even if a timer fires early', () => {
    const { clock, written, add } = make();
    for (let i = 0; i < 3; i++) add('failure', '/a', 'one');
    const now = clock.now.bind(clock);
    clock.now = () => now() - 3;
    clock.advance(120_000);
    expect(written).toHaveLength(2);
    expect(clock.pending).toBe(0);
  });

  it('are limited separately for each event, subject, and state', () => {
    const { clock, written, add, circuit } = make();
    circuit('/a', 'open');
    circuit('/a', 'closed');
    circuit('/b', 'open');
    add('failure', '/a', 'failure');
    circuit('/a', 'open');
    circuit('/a', 'closed');
    expect(written).toEqual(['warn /a: open', 'log /a: closed', 'warn /b: open', 'warn failure']);
    clock.advance(60_000);
    expect(written.slice(4)).toEqual(['log /a: closed (1 more in the last minute, the last one 60 s ago)']);
  });

  it('are written and their timer is cleared on close()', () => {
    const { clock, written, add, limiter } = make();
    for (let i = 0; i < 3; i++) add('failure', '/a', 'one');
    limiter.close();
    expect(written).toEqual(['warn one', 'warn one (1 more in the last minute)']);
    expect(clock.pending).toBe(0);
  });
});

describe('lines beyond the limit', () => {
  const paths = (count: number) => Array.from({ length: count }, (_, index) => `/a.A/M${String(index + 1)}`);

  it('are combined within a minute into one line with the latest text, its age, and the other subjects', () => {
    const { clock, written, fields, circuit } = make(() => 4);
    for (const path of ['/a', '/b', '/c', '/d', ...paths(20)]) circuit(path, 'open');
    expect(written).toEqual(['/a', '/b', '/c', '/d'].map((path) => `warn ${path}: open`));
    clock.advance(60_000);
    expect(written).toHaveLength(5);
    expect(written[4]).toMatch(
      /^warn \/a\.A\/M20: open \(19 more in the last minute, the last one 60 s ago: \/a\.A\/M19, .*, \/a\.A\/M1\)$/,
    );
    expect(fields[4]).toMatchObject({ event: 'circuit', subject: '/a.A/M20', repeats: 19 });
  });

  it('list at most 20 subjects, the most frequent first, and count others together', () => {
    const { clock, written, circuit } = make(() => 1);
    circuit('/a', 'open');
    for (const path of [...paths(500), '/a.A/M7', '/a.A/M7']) circuit(path, 'open');
    clock.advance(60_000);
    expect(written[1]).toMatch(
      /^warn \/a\.A\/M7: open \(501 more in the last minute, the last one 60 s ago: 400 × others, 2 × \/a\.A\/M7, \/a\.A\/M100, /,
    );
    expect(written[1]).toMatch(/, and 81 more\)$/);
    expect(written[1]!.length).toBeLessThan(500);
  });

  it('do not report the earlier state of a subject', () => {
    const { clock, written, fields, circuit } = make(() => 1);
    circuit('/x', 'open');
    for (const path of ['/a', '/b', '/c']) circuit(path, 'open');
    circuit('/a', 'closed');
    clock.advance(60_000);
    expect(written.slice(1)).toEqual([
      'warn /c: open (3 more in the last minute, the last one 60 s ago: 2 × circuit /a, /b)',
    ]);
    expect(fields[1]).toMatchObject({ subject: '/c', repeats: 3 });
  });

  it('have the text and the fields of the most severe line, such as a call that may have had an effect, and name the others', () => {
    const { clock, written, fields, add, circuit } = make(() => 1);
    circuit('/x', 'open');
    add('attempt-end', '/a', 'lost');
    circuit('/b', 'open');
    circuit('/c', 'closed');
    clock.advance(60_000);
    expect(written[1]).toBe('warn lost (2 more in the last minute, the last one 60 s ago: circuit /b, circuit /c)');
    expect(fields[1]).toEqual({
      event: 'attempt-end',
      subject: '/a',
      repeats: 2,
    });
  });

  it('are written within a minute even while the limit is lowered, before later lines', () => {
    let max = 4;
    const { clock, written, circuit } = make(() => max);
    for (const path of ['/a', '/b', '/c', '/d']) circuit(path, 'open');
    clock.advance(30_000);
    max = 1;
    circuit('/e', 'open');
    clock.advance(29_999);
    expect(written).toHaveLength(4);
    clock.advance(1);
    expect(written.slice(4)).toEqual(['warn /e: open (30 s ago)']);
    circuit('/f', 'open');
    max = 4;
    circuit('/g', 'open');
    expect(written.slice(5)).toEqual(['warn /f: open', 'warn /g: open']);
  });

  it('are at most as many in any minute as the limit allows', () => {
    const { clock, written, circuit } = make(() => 4);
    const times: number[] = [];
    for (let i = 0; i < 3_000; i++) {
      circuit(`/a.A/M${String((i * 7) % 13)}`, i % 3 === 0 ? 'closed' : 'open');
      clock.advance(100);
      while (times.length < written.length) times.push(clock.now());
    }
    for (const from of times)
      expect(times.filter((at) => at >= from && at < from + 59_900).length).toBeLessThanOrEqual(4);
    expect(times.length).toBeGreaterThan(15);
  });
});
