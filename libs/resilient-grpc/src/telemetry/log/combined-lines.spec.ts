import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../../spec-support/virtual-clock.js';
import { CombinedLines } from './combined-lines.js';
import { LogLine, type EventFields } from './log-line.js';

function make() {
  const clock = new VirtualClock();
  const written: LogLine[] = [];
  const limit = new CombinedLines((line) => written.push(line), clock);
  const add = (level: 'log' | 'warn', text: string, fields: EventFields) => limit.add(new LogLine(level, text, fields));
  const circuit = (path: string, to: 'open' | 'closed') =>
    add(to === 'open' ? 'warn' : 'log', `${path}: circuit ${to}`, { event: 'circuit', path, to });
  /** Uses up the log lines that are allowed in the next minute. */
  const fill = () => {
    limit.connectionUnstable();
    add('log', 'the first', { event: 'drain' });
    written.length = 0;
  };
  return { clock, written, limit, add, circuit, fill };
}
const texts = (written: readonly LogLine[]) => written.map(({ msg }) => msg);

describe('CombinedLines', () => {
  it('writes log lines immediately, up to four a minute', () => {
    const { written, circuit } = make();
    for (const path of ['/a', '/b', '/c', '/d', '/e']) circuit(path, 'open');
    expect(texts(written)).toEqual(['/a', '/b', '/c', '/d'].map((path) => `${path}: circuit open`));
    expect(written[0]!.fields).toEqual({ event: 'circuit', path: '/a', to: 'open' });
  });

  it('writes one log line during the minute after an outage starts or ends, then up to four a minute', () => {
    const { clock, written, limit, circuit } = make();
    limit.connectionUnstable();
    circuit('/a', 'open');
    circuit('/b', 'open');
    expect(written).toHaveLength(1);
    clock.advance(60_000);
    expect(written).toHaveLength(2);
    for (const path of ['/c', '/d', '/e', '/f']) circuit(path, 'open');
    expect(written).toHaveLength(5);
  });

  it('combines excess log lines within a minute into one line with the latest message, the age of that message, and the methods of the other lines', () => {
    const { clock, written, circuit, fill } = make();
    fill();
    for (let i = 1; i <= 20; i++) circuit(`/a.A/M${i}`, 'open');
    clock.advance(60_000);
    expect(written).toHaveLength(1);
    expect(written[0]!.msg).toMatch(
      /^\/a\.A\/M20: circuit open \(60 s ago\) and 19 more: \/a\.A\/M19, .*, \/a\.A\/M1$/,
    );
    expect(written[0]!.fields).toMatchObject({ event: 'circuit', path: '/a.A/M20', lines: 20 });
  });

  it('lists at most 20 methods in a combined line and counts the rest', () => {
    const { clock, written, circuit, fill } = make();
    fill();
    for (let i = 1; i <= 500; i++) circuit(`/a.A/M${i}`, 'open');
    clock.advance(60_000);
    expect(written[0]!.msg).toMatch(/ and 499 more: .*\/a\.A\/M480, 479 more methods$/);
    expect(written[0]!.msg.length).toBeLessThan(500);
  });

  it('counts the unlisted methods and addresses of a combined line separately, with the correct singular or plural', () => {
    const { clock, written, add, circuit, fill } = make();
    fill();
    for (let i = 1; i <= 23; i++) add('warn', 'could not connect', { event: 'connection', address: `10.0.0.${i}:1` });
    for (let i = 1; i <= 22; i++) circuit(`/a.A/M${i}`, 'open');
    clock.advance(60_000);
    expect(written[0]!.msg).toMatch(
      /, \/a\.A\/M2, 1 more method \| could not connect .*, 10\.0\.0\.3:1, 2 more addresses$/,
    );
  });

  it('reports only the latest circuit state of each method in a combined line', () => {
    const { clock, written, circuit, fill } = make();
    fill();
    for (const path of ['/a', '/b', '/c']) circuit(path, 'open');
    circuit('/a', 'closed');
    clock.advance(60_000);
    expect(texts(written)).toEqual([
      '/c: circuit open (60 s ago) and 1 more: /b | /a: circuit closed (60 s ago) and 1 more',
    ]);
    expect(written[0]!.fields).toMatchObject({ path: '/c', to: 'open', lines: 4 });
  });

  it('uses the fields of the most severe line for a combined line and lists all kinds of events', () => {
    const { clock, written, add, circuit, fill } = make();
    fill();
    add('warn', 'lost', { event: 'attempt-end', path: '/a', reason: 'not-safe-to-repeat' });
    circuit('/b', 'open');
    circuit('/c', 'closed');
    clock.advance(60_000);
    expect(written.map(({ level }) => level)).toEqual(['warn']);
    expect(written[0]!.msg).toMatch(/^lost \(60 s ago\) \| \/b: circuit open .* \| \/c: circuit closed /);
    expect(written[0]!.fields).toEqual({
      event: 'attempt-end',
      path: '/a',
      reason: 'not-safe-to-repeat',
      events: 'circuit, attempt-end',
      lines: 3,
    });
  });

  it('writes pending combined lines within a minute, before later lines', () => {
    const { clock, written, limit, circuit, fill } = make();
    fill();
    clock.advance(30_000);
    limit.connectionUnstable();
    circuit('/a', 'open');
    for (let i = 0; i < 29; i++) {
      clock.advance(1_000);
      limit.connectionUnstable();
    }
    expect(written).toEqual([]);
    clock.advance(1_000);
    expect(texts(written)).toEqual(['/a: circuit open (30 s ago)']);
    circuit('/b', 'open');
    clock.advance(60_000);
    circuit('/c', 'open');
    expect(texts(written).slice(1, 3)).toEqual(['/b: circuit open (60 s ago)', '/c: circuit open']);
  });

  it('writes pending combined lines and clears the timer on close()', () => {
    const { clock, written, limit, circuit, fill } = make();
    fill();
    circuit('/a', 'open');
    limit.close();
    expect(texts(written)).toEqual(['/a: circuit open']);
    expect(clock.pending).toBe(0);
  });
});
