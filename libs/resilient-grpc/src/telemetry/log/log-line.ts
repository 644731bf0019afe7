/** What a line tells to programs, by names that stay. Of `context`, `level`, `time` and `pid` loggers have their own. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Levels of Nest's logger that are used here. */
export type LogLevel = 'debug' | 'log' | 'warn' | 'error';

/** Where lines go; Nest's logger is one. */
export type LogSink = Readonly<Record<LogLevel, (line: LogLine) => void>>;

/** As Nest's ConsoleLogger colours them. */
const COLOURS: Readonly<Record<LogLevel, number>> = { debug: 95, log: 32, warn: 33, error: 31 };
/** `inspect.custom` of node:util. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/** The part of node's inspect options that matters here. */
interface InspectOptions {
  readonly depth?: number | null;
  readonly colors?: boolean;
}

/**
 * One line of a log, for people and programs. Nest's loggers have no one way to take a text and its fields: Nest 11 prints each
 * argument as a line of its own, Nest 12 adds the fields to the text, nestjs-pino drops what stands behind a text. What all of
 * them do is to take one object. Printed, it is its text; written as JSON, its fields, with the text as `msg`. To a logger that is
 * written for texts it is one: it has what a text has (`replace`, `includes`, `length`), which asks `toString` for the text. It cannot
 * be a `String` by itself, as each character of that is a field.
 */
export class LogLine {
  readonly msg: string;
  readonly #level: LogLevel;
  readonly #fields: LogFields;

  static {
    Object.setPrototypeOf(this.prototype, String.prototype);
  }

  constructor(level: LogLevel, msg: string, fields: LogFields = {}) {
    this.#level = level;
    this.#fields = fields;
    this.msg = msg;
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined) Object.defineProperty(this, name, { value, enumerable: true });
    }
  }

  get level(): LogLevel {
    return this.#level;
  }

  /** All but its text. */
  get fields(): LogFields {
    return this.#fields;
  }

  /** By this name nest-winston takes the text of an object. */
  get message(): string {
    return this.msg;
  }

  get length(): number {
    return this.msg.length;
  }

  toString(): string {
    return this.msg;
  }

  valueOf(): string {
    return this.msg;
  }

  /** As a text alone, as ConsoleLogger would print that; as an object where it is a part of something that is printed. */
  [INSPECT](depth: number | null, options: InspectOptions): unknown {
    if (depth !== null && depth < (options.depth ?? depth)) return Object.assign({}, this);
    const text = options.colors === true ? `\u001b[${String(COLOURS[this.#level])}m${this.msg}\u001b[39m` : this.msg;
    const stack: unknown = Reflect.get(this, 'stack');
    return typeof stack === 'string' ? `${text}\n${stack}` : text;
  }
}
