import type { Clock } from '../../time/clock.js';
import { LogLimiter } from './log-limiter.js';
import type { EventFields, LogLevel, LogSink } from './log-line.js';
import { listed, oneLine } from './log-text.js';

/** Maximum length, in characters, of the texts of the library itself, which can contain a shell command with a manifest. */
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
