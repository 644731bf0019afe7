import type { Clock, Timer } from '../../time/clock.js';
import type { EventFields, LogLevel, LogSink } from './log-line.js';
import { duration, listed } from './log-text.js';

/** Interval in milliseconds over which lines are limited and counted. */
export const LOG_INTERVAL_MS = 60_000;
/** Maximum number of lines of a log per interval, unless its owner sets another. */
const MAX_LINES = 20;
/** Maximum number of subjects that are counted separately. The number is bounded, because one cause can make every method fail. */
const MAX_SUBJECTS = 100;
/** Maximum number of subjects that a line lists. */
const MAX_LISTED = 20;
const LEVELS: readonly LogLevel[] = ['log', 'warn', 'error'];
/** The event that comes first among those of its level: a failed call that may have had an effect. An operator may have to check it. */
const TOP_EVENT = 'attempt-end';

/** A line that is written, or counted until the limit allows a line that stands for it. */
export interface LimitedLine {
  readonly level: LogLevel;
  readonly event: string;
  /** The method, the address, or whatever else the event is about. */
  readonly subject: string;
  /** At most one line per interval is written for each event and key. */
  readonly key: string;
  /** Called only if the line is written, because there can be thousands of events per second. */
  readonly build: () => readonly [text: string, fields: EventFields];
}

/** The unwritten lines of an event about a subject. */
interface Pending {
  line: LimitedLine;
  at: number;
  count: number;
  /** True if a line of this key and subject was written within the last interval, so that all `count` lines are repeats. */
  isRepeat: boolean;
}

/**
 * Writes the first line of each event and key immediately. Counts further ones for a minute, then writes the latest with their number. Also
 * limits the lines of all keys together: those beyond the limit are combined within a minute into one line, with the latest text of each
 * event and the subjects of the others. It has only the latest state of a subject, so a circuit that has closed again is not reported as
 * open.
 */
export class LogLimiter {
  /** By event and subject. */
  private readonly pending = new Map<string, Pending>();
  /** Times of the latest line of each event with a key, and of each event with a subject. */
  private readonly writtenAt = new Map<string, number>();
  private times: readonly number[] = [];
  private timer: Timer | undefined;

  /** @param maxLines returns the current maximum number of lines per interval */
  constructor(
    private readonly sink: Pick<LogSink, 'write'>,
    private readonly clock: Clock,
    private readonly maxLines: () => number = () => MAX_LINES,
  ) {}

  log(given: LimitedLine): void {
    const isOther = this.pending.size >= MAX_SUBJECTS && !this.pending.has(idOf(given));
    const line = isOther ? { ...given, subject: 'others', key: 'others' } : given;
    const id = idOf(line);
    const earlier = this.pending.get(id);
    const at = this.clock.now();
    if (earlier?.line.key === line.key) {
      Object.assign(earlier, { line, at, count: earlier.count + 1 });
      return;
    }
    const isRepeat = this.allowedAt(keyOf(line)) > at && this.allowedAt(id) > at;
    this.pending.set(id, { line, at, count: (earlier?.count ?? 0) + 1, isRepeat });
    this.flush(at);
  }

  close(): void {
    this.timer?.clear();
    this.writeDue([...this.pending.values()], this.maxLines(), this.clock.now());
  }

  private allowedAt(name: string): number {
    return (this.writtenAt.get(name) ?? -Infinity) + LOG_INTERVAL_MS;
  }

  private flush(now: number): void {
    const isRecent = (at: number): boolean => now - at < LOG_INTERVAL_MS;
    const dueAtOf = ({ line }: Pending): number => this.allowedAt(keyOf(line));
    this.times = this.times.filter(isRecent);
    const due = [...this.pending.values()].filter((one) => dueAtOf(one) <= now);
    this.writeDue(due, this.maxLines() - this.times.length, now);
    for (const [name, at] of this.writtenAt) if (!isRecent(at)) this.writtenAt.delete(name);
    this.timer?.clear();
    if (this.pending.size === 0) return;
    const allowedAt = (this.times.at(-this.maxLines()) ?? -Infinity) + LOG_INTERVAL_MS;
    const dueAt = Math.max(now, allowedAt, Math.min(...[...this.pending.values()].map(dueAtOf)));
    // A timer can fire early, so the time is at least the one for which the timer was set.
    this.timer = this.clock.setTimer(() => {
      this.flush(Math.max(dueAt, this.clock.now()));
    }, dueAt - now);
  }

  /** Writes a line for each key, or one for all of them if fewer are free. */
  private writeDue(due: readonly Pending[], free: number, now: number): void {
    const lines = grouped(due, keyOf);
    if (lines.length <= free) for (const line of lines) this.writeLine(line, now);
    else if (free > 0) this.writeLine(due, now);
  }

  private writeLine(due: readonly Pending[], now: number): void {
    const latestFirst = [...due].reverse().sort((a, b) => b.at - a.at);
    const kinds = grouped(latestFirst, ({ level, event }) => `${level} ${event}`)
      .map((kind) => combined(kind, now))
      .sort((a, b) => b.severity - a.severity);
    const [first] = kinds;
    if (first === undefined) return;
    for (const { line } of due) {
      this.pending.delete(idOf(line));
      this.writtenAt.set(idOf(line), now).set(keyOf(line), now);
    }
    this.times = [...this.times, now];
    const repeats = kinds.reduce((sum, { more }) => sum + more + 1, -1);
    const events = [...new Set(kinds.map(({ fields }) => fields.event))].join(', ');
    this.sink.write(first.level, kinds.map(({ text }) => text).join(' | '), {
      ...first.fields,
      ...(repeats > 0 && { repeats }),
      ...(kinds.length > 1 && { events }),
    });
  }
}

const idOf = ({ event, subject }: LimitedLine): string => `${event} ${subject}`;
const keyOf = ({ event, key }: LimitedLine): string => `${event}: ${key}`;

function grouped(all: readonly Pending[], by: (line: LimitedLine) => string): readonly (readonly Pending[])[] {
  const groups = new Map<string, Pending[]>();
  for (const one of all) groups.set(by(one.line), [...(groups.get(by(one.line)) ?? []), one]);
  return [...groups.values()];
}

/** Describes the lines of one event and level, given latest first: the latest, and the number and the subjects of the others. */
function combined(kind: readonly Pending[], now: number) {
  const [latest] = kind as [Pending];
  const { line, at, isRepeat } = latest;
  const [text, { stack, ...fields }] = line.build();
  const counts = kind.map(
    (one) => [one.line.subject, one === latest && !isRepeat ? one.count - 1 : one.count] as const,
  );
  const more = counts.reduce((sum, [, count]) => sum + count, 0);
  const most = counts.filter(([, count]) => count > 0).sort(([, a], [, b]) => b - a);
  const named = most.map(([subject, count]) => (count === 1 ? subject : `${String(count)} × ${subject}`));
  const subjects = kind.length === 1 ? '' : `: ${listed(named, MAX_LISTED)}`;
  const age = now - at < 1_000 ? '' : `${duration(now - at)} ago`;
  const repeats = `${String(more)} more in the last minute${age === '' ? '' : `, the last one ${age}`}${subjects}`;
  const note = more === 0 ? age : repeats;
  return {
    level: line.level,
    text: note === '' ? text : `${text} (${note})`,
    // The line that is repeated had the stack.
    fields: isRepeat || stack === undefined ? fields : { ...fields, stack },
    more,
    severity: LEVELS.indexOf(line.level) + (line.event === TOP_EVENT ? 0.5 : 0),
  };
}
