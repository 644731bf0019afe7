import { describe, expect, it } from 'vitest';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { LogRateLimiter } from './log-rate-limiter.js';
import { LogLine, type LogFields } from './log-line.js';

function make() {
  const clock = new VirtualClock();
  const writtenAt: LogLine[] = [];
  const limit = new LogRateLimiter((line) => writtenAt.push(line), clock);
  const say = (level: 'log' | 'warn', text: string, fields: LogFields) => limit.say(new LogLine(level, text, fields));
  const circuit = (path: string, to: 'open' | 'closed') =>
    say(to === 'open' ? 'warn' : 'log', `${path}: circuit ${to}`, { event: 'circuit', path, to });
  /** Nothing more is told in the next minute. */
  const fill = () => {
    limit.connectionUnstable();
    say('log', 'the first', { event: 'drain' });
    writtenAt.length = 0;
  };
  return { clock, told: writtenAt, limit, say, circuit, fill };
}
const texts = (writtenAt: readonly LogLine[]) => writtenAt.map(({ msg }) => msg);

describe('lines above debug', () => {
  it('are told as they come, four a minute', () => {
    const { told: writtenAt, circuit } = make();
    for (const path of ['/a', '/b', '/c', '/d', '/e']) circuit(path, 'open');
    expect(texts(writtenAt)).toEqual(['/a', '/b', '/c', '/d'].map((path) => `${path}: circuit open`));
    expect(writtenAt[0]!.fields).toEqual({ event: 'circuit', path: '/a', to: 'open' });
  });

  it('are one a minute for a minute after an outage', () => {
    const { clock, told: writtenAt, limit, circuit } = make();
    limit.connectionUnstable();
    circuit('/a', 'open');
    circuit('/b', 'open');
    expect(writtenAt).toHaveLength(1);
    clock.advance(60_000);
    expect(writtenAt).toHaveLength(2);
    for (const path of ['/c', '/d', '/e', '/f']) circuit(path, 'open');
    expect(writtenAt).toHaveLength(5);
  });

  it('that were too much are told in one line within the minute: the latest, its age, and of which methods there were more', () => {
    const { clock, told: writtenAt, circuit, fill } = make();
    fill();
    for (let i = 1; i <= 20; i++) circuit(`/a.A/M${i}`, 'open');
    clock.advance(60_000);
    expect(writtenAt).toHaveLength(1);
    expect(writtenAt[0]!.msg).toMatch(
      /^\/a\.A\/M20: circuit open \(60 s ago\) and 19 more: \/a\.A\/M19, .*, \/a\.A\/M1$/,
    );
    expect(writtenAt[0]!.fields).toMatchObject({ event: 'circuit', path: '/a.A/M20', lines: 20 });
  });

  it('of very many methods say how many they do not name', () => {
    const { clock, told: writtenAt, circuit, fill } = make();
    fill();
    for (let i = 1; i <= 500; i++) circuit(`/a.A/M${i}`, 'open');
    clock.advance(60_000);
    expect(writtenAt[0]!.msg).toMatch(/ and 499 more: .*\/a\.A\/M480, 479 more methods$/);
    expect(writtenAt[0]!.msg.length).toBeLessThan(500);
  });

  it('do not say what is over: of a method the latest is told', () => {
    const { clock, told: writtenAt, circuit, fill } = make();
    fill();
    for (const path of ['/a', '/b', '/c']) circuit(path, 'open');
    circuit('/a', 'closed');
    clock.advance(60_000);
    expect(texts(writtenAt)).toEqual([
      '/c: circuit open (60 s ago) and 1 more: /b | /a: circuit closed (60 s ago) and 1 more',
    ]);
    expect(writtenAt[0]!.fields).toMatchObject({ path: '/c', to: 'open', lines: 4 });
  });

  it('are told by the fields of the gravest, with the names of all kinds', () => {
    const { clock, told: writtenAt, say, circuit, fill } = make();
    fill();
    say('warn', 'lost', { event: 'attempt-end', path: '/a', reason: 'not-safe-to-repeat' });
    circuit('/b', 'open');
    circuit('/c', 'closed');
    clock.advance(60_000);
    expect(writtenAt.map(({ level }) => level)).toEqual(['warn']);
    expect(writtenAt[0]!.msg).toMatch(/^lost \(60 s ago\) \| \/b: circuit open .* \| \/c: circuit closed /);
    expect(writtenAt[0]!.fields).toEqual({
      event: 'attempt-end',
      path: '/a',
      reason: 'not-safe-to-repeat',
      events: 'circuit, attempt-end',
      lines: 3,
    });
  });

  it('that wait are told no later than in a minute, and before those that come after them', () => {
    const { clock, told: writtenAt, limit, circuit, fill } = make();
    fill();
    clock.advance(30_000);
    limit.connectionUnstable();
    circuit('/a', 'open');
    for (let i = 0; i < 29; i++) {
      clock.advance(1_000);
      limit.connectionUnstable();
    }
    expect(writtenAt).toEqual([]);
    clock.advance(1_000);
    expect(texts(writtenAt)).toEqual(['/a: circuit open (30 s ago)']);
    circuit('/b', 'open');
    clock.advance(60_000);
    circuit('/c', 'open');
    expect(texts(writtenAt).slice(1, 3)).toEqual(['/b: circuit open (60 s ago)', '/c: circuit open']);
  });

  it('that wait are told when there is no more time, and leave no timer', () => {
    const { clock, told: writtenAt, limit, circuit, fill } = make();
    fill();
    circuit('/a', 'open');
    limit.close();
    expect(texts(writtenAt)).toEqual(['/a: circuit open']);
    expect(clock.pending).toBe(0);
  });
});
