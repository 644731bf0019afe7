import type { Clock, Timer } from '../../time/clock.js';
import type { EventFields, LogLevel, LogSink } from './library-logger.js';
import { listed, oneLine, duration } from './log-text.js';

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

interface Pending {
  line: LimitedLine;
  at: number;
  count: number;
}

/**
 * Writes the first line of each event and key immediately. Counts further ones for a minute, then writes the latest with their number. Also
 * limits the lines of all keys together: those beyond the limit become one line within a minute, with the text of the most severe of them
 * and the subjects of the others. It has only the latest state of a subject, so a circuit that has closed again is not reported as open.
 */
export class LogLimiter {
  private readonly pending = new Map<string, Pending>();
  /** Time of the latest line of each event with a key. */
  private readonly writtenAt = new Map<string, number>();
  private readonly times: number[] = [];
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
    // Added again, so that the map is in the order of the latest events.
    this.pending.delete(id);
    this.pending.set(id, { line, at, count: (earlier?.count ?? 0) + 1 });
    if (earlier?.line.key !== line.key) this.flush(at);
  }

  close(): void {
    this.timer?.clear();
    this.writeDue([...this.pending.values()], this.maxLines(), this.clock.now());
  }

  private readonly dueAtOf = ({ line }: Pending): number =>
    (this.writtenAt.get(keyOf(line)) ?? -Infinity) + LOG_INTERVAL_MS;

  private flush(now: number): void {
    while (now - (this.times[0] ?? now) >= LOG_INTERVAL_MS) this.times.shift();
    const free = this.maxLines() - this.times.length;
    // During a flood, each event ends here: the timer is set for the time at which the limit allows a line.
    if (free <= 0 && this.timer !== undefined) return;
    const due = [...this.pending.values()].filter((one) => this.dueAtOf(one) <= now);
    this.writeDue(due, free, now);
    this.timer?.clear();
    this.timer = undefined;
    if (this.pending.size === 0) return;
    const allowedAt = (this.times.at(-this.maxLines()) ?? -Infinity) + LOG_INTERVAL_MS;
    const dueAt = Math.max(now, allowedAt, Math.min(...[...this.pending.values()].map(this.dueAtOf)));
    // A timer can fire early, so the time is at least the one for which the timer was set.
    this.timer = this.clock.setTimer(() => {
      this.timer = undefined;
      this.flush(Math.max(dueAt, this.clock.now()));
    }, dueAt - now);
  }

  /** Writes a line for each key, or one for all of them if fewer are free. */
  private writeDue(due: readonly Pending[], free: number, now: number): void {
    const keys = new Set(due.map(({ line }) => keyOf(line)));
    if (keys.size > free) {
      this.writeLine(free > 0 ? due : [], now);
      return;
    }
    for (const key of keys) {
      const ofKey = due.filter(({ line }) => keyOf(line) === key);
      this.writeLine(ofKey, now);
    }
  }

  /** Writes one line for all of `due`, which are in the order of their latest events. */
  private writeLine(due: readonly Pending[], now: number): void {
    const [first, ...others] = [...due].reverse().sort((a, b) => severityOf(b.line) - severityOf(a.line));
    if (first === undefined) return;
    for (const { line } of due) {
      this.pending.delete(idOf(line));
      // Deleted first, so that the map stays in the order of the times.
      this.writtenAt.delete(keyOf(line));
      this.writtenAt.set(keyOf(line), now);
    }
    for (const [key, at] of this.writtenAt) {
      if (now - at < LOG_INTERVAL_MS) break;
      this.writtenAt.delete(key);
    }
    this.times.push(now);
    const { line, at, count } = first;
    const [text, fields] = line.build();
    const repeats = due.reduce((sum, one) => sum + one.count, -1);
    const counts = count > 1 && others.length > 0 ? [{ line, count: count - 1 }, ...others] : others;
    const named = counts.sort((a, b) => b.count - a.count).map((one) => subjectOf(one, line));
    const subjects = named.length === 0 ? '' : `: ${listed(named, MAX_LISTED)}`;
    const age = now - at < 1_000 ? '' : `${duration(now - at)} ago`;
    const more = `${String(repeats)} more in the last minute${age === '' ? '' : `, the last one ${age}`}${subjects}`;
    const note = repeats === 0 ? age : more;
    const all = repeats === 0 ? fields : { ...fields, repeats };
    this.sink.write(line.level, note === '' ? text : `${text} (${note})`, all);
  }
}

const idOf = ({ event, subject }: LimitedLine): string => `${event} ${subject}`;
const keyOf = ({ event, key }: LimitedLine): string => `${event}: ${key}`;
const severityOf = ({ level, event }: LimitedLine): number => LEVELS.indexOf(level) + (event === TOP_EVENT ? 0.5 : 0);

/** Returns '3 × circuit /orders.v1.Orders/Get': without the number 1, and without the event if `main` has the same event and level. */
function subjectOf({ line, count }: Pick<Pending, 'line' | 'count'>, main: LimitedLine): string {
  const isSame = line.event === main.event && line.level === main.level;
  return `${count === 1 ? '' : `${String(count)} × `}${isSame ? '' : `${line.event} `}${line.subject}`;
}

/** Maximum length, in characters, of the texts of the library itself, which can contain a shell command. */
const MAX_OWN_TEXT_LENGTH = 2_000;
const OWN_TEXTS: ReadonlySet<string> = new Set(['remedy', 'lost']);

interface LoggedEvent {
  readonly type: string;
  readonly path?: string | undefined;
  readonly address?: string | undefined;
  readonly change?: string;
  readonly phase?: string;
}

/**
 * Its fields are the event's own properties, except objects. `text` and `fields` receive an event whose strings are safe to log: short, on
 * one line, without recognizable secrets.
 */
export interface EventLine<E, Subject> {
  /** Default: `warn`. The function returns `undefined` if the event is not logged. */
  readonly level?: LogLevel | ((event: E) => LogLevel | undefined);
  /** Default: the type and the fields of the event. */
  readonly text?: (event: E, subject: Subject) => string | undefined;
  /** Returns fields that the event does not have, or that replace its own. */
  readonly fields?: (event: E, subject: Subject) => object;
  /** What the event is about. Default: its `path` or `address`. */
  readonly about?: (event: E) => string;
  /** Lines with the same key are limited to one a minute. Default: what the event is about, and its `change` or `phase`. */
  readonly key?: (event: E) => string;
  /** True if the line is limited only by its key. */
  readonly isAlone?: boolean;
}

/** The line of each type of events; `undefined` if they are not logged. */
export type EventTable<E extends LoggedEvent, Subject> = {
  readonly [T in E['type']]: EventLine<Extract<E, { readonly type: T }>, Subject> | undefined;
};

/** Logs events as a table describes, with a limit for all lines above `debug`. */
export class EventLog<E extends LoggedEvent, Subject = undefined> {
  private readonly lines: LogLimiter;
  private readonly aloneLines: LogLimiter;

  /** @param subject what the texts name besides the event, such as the target of a client */
  constructor(
    private readonly table: EventTable<E, Subject>,
    private readonly subject: Subject,
    private readonly sink: LogSink,
    clock: Clock,
    maxLines?: () => number,
  ) {
    this.lines = new LogLimiter(sink, clock, maxLines);
    this.aloneLines = new LogLimiter(sink, clock, () => Infinity);
  }

  take(event: E): void {
    const line = this.lineOf(event);
    const level = levelOf(line, event);
    if (level === 'debug') this.write(event);
    if (line === undefined || level === undefined || level === 'debug') return;
    const { type, path, address, change, phase } = event;
    const subject = line.about?.(event) ?? path ?? address ?? '';
    const key = line.key?.(event) ?? `${subject} ${change ?? phase ?? ''}`;
    const limiter = line.isAlone === true ? this.aloneLines : this.lines;
    limiter.log({ level, event: type, subject, key, build: () => this.build(line, event) });
  }

  write(event: E, level = levelOf(this.lineOf(event), event)): void {
    const line = this.lineOf(event);
    if (line === undefined || level === undefined || (level === 'debug' && !this.sink.isDebugEnabled)) return;
    this.sink.write(level, ...this.build(line, event));
  }

  close(): void {
    this.lines.close();
    this.aloneLines.close();
  }

  private lineOf(event: E): EventLine<E, Subject> | undefined {
    // TypeScript does not know that the line of a type takes the events of this type.
    return this.table[event.type as E['type']] as EventLine<E, Subject> | undefined;
  }

  private build(line: EventLine<E, Subject>, event: E): readonly [text: string, fields: EventFields] {
    // Strings stay strings, and numbers numbers.
    const shown = safe(event) as E;
    const own = Object.entries({ ...shown, type: undefined, at: undefined, ...line.fields?.(shown, this.subject) });
    const flat = own.map(([name, value]) => [name, Array.isArray(value) ? listed(value) : value] as const);
    const fields = Object.fromEntries(flat.filter(([, value]) => value !== undefined && typeof value !== 'object'));
    return [line.text?.(shown, this.subject) ?? defaultText(event, fields), { event: event.type, ...fields }];
  }
}

function levelOf<E>(line: EventLine<E, never> | undefined, event: E): LogLevel | undefined {
  return typeof line?.level === 'function' ? line.level(event) : line && (line.level ?? 'warn');
}

/** Returns a text such as 'connection closed: address=10.0.0.7:50051, livedMs=3000'. */
function defaultText({ type, change, phase }: LoggedEvent, fields: object): string {
  const others = Object.entries(fields).filter(([name]) => !['client', 'change', 'phase'].includes(name));
  const details = others.map(([name, value]) => `${name}=${String(value)}`).join(', ');
  return `${[type, change ?? phase].filter(Boolean).join(' ')}: ${details}`;
}

/** Makes the strings of an event safe to log, and rounds its numbers. Does not touch an `error`, whose properties can throw. */
function safe(value: unknown, name = ''): unknown {
  if (typeof value === 'string') return oneLine(value, OWN_TEXTS.has(name) ? MAX_OWN_TEXT_LENGTH : undefined);
  if (typeof value === 'number') return Math.abs(value) < 10 ? Math.round(value * 100) / 100 : Math.round(value);
  if (name === 'error' || typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((item) => safe(item, name));
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, safe(one, key)]));
}
