import { Logger } from '@nestjs/common';
import { oneLine } from './log-text.js';
import type { InspectOptions } from 'node:util';

/**
 * Structured fields of a log line. Their names are stable. Never use `context`, `level`, `time`, or `pid`, because loggers add fields with
 * these names.
 */
export type EventFields = Readonly<Record<string, string | number | boolean | undefined>> & { readonly event: string };

export type LogLevel = 'debug' | 'log' | 'warn' | 'error';

/** A destination of log lines, such as Nest's logger. */
export interface LogSink {
  readonly write: (level: LogLevel, text: string, fields: EventFields) => void;
  /** False if `debug` lines would be dropped, so that they need not be built. */
  readonly isDebugEnabled: boolean;
}

const COLORS: Readonly<Record<LogLevel, number>> = { debug: 95, log: 32, warn: 33, error: 31 };
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/**
 * One log line with a message and structured fields. Nest loggers have no common way to pass both. Nest 11 prints each argument on its own
 * line, Nest 12 appends the fields to the message, and nestjs-pino drops arguments after a string message. All of these loggers accept a
 * single object. Loggers that print this object print its message. JSON contains its fields, with the message as `msg`. The object also
 * works in loggers that expect a string, because it inherits the string methods (`replace`, `includes`) and has a `length`. These methods
 * call `toString`. The class cannot extend `String`, because a `String` object has each character as an enumerable property.
 */
export class LogLine {
  readonly msg: string;
  readonly #level: LogLevel;

  static {
    Object.setPrototypeOf(this.prototype, String.prototype);
  }

  constructor(level: LogLevel, msg: string, fields: EventFields) {
    this.#level = level;
    this.msg = msg;
    for (const [name, value] of Object.entries(fields)) {
      if (value !== undefined) Object.defineProperty(this, name, { value, enumerable: true });
    }
  }

  /** Equals `msg`. nest-winston reads the message of an object from this property. */
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

  /** Returns the message as ConsoleLogger would print a string, followed by the stack if there is one. */
  [INSPECT](depth: number | null, options: InspectOptions): unknown {
    if (depth !== null && depth < (options.depth ?? depth)) return Object.assign({}, this);
    const text = options.colors === true ? `\u001b[${String(COLORS[this.#level])}m${this.msg}\u001b[39m` : this.msg;
    const stack: unknown = Reflect.get(this, 'stack');
    return typeof stack === 'string' ? `${text}\n${stack}` : text;
  }
}

/**
 * The Nest logger for the lines of this library, each of which has an `event`. It catches errors that the application's logger throws. Most
 * lines are written in timers and connection events, where an uncaught error would crash the process during an outage. A failing logger
 * must also never make a call or the application's startup fail.
 */
export class LibraryLogger implements LogSink {
  private readonly logger: Logger;
  private isReported = false;

  constructor(context: string) {
    this.logger = new Logger(context);
  }

  /** True if Nest enables the `debug` level, or if it reports every level as disabled, as Nest 11 does without a list of log levels. */
  get isDebugEnabled(): boolean {
    return Logger.isLevelEnabled('debug') || !Logger.isLevelEnabled('fatal');
  }

  write(level: LogLevel, text: string, fields: EventFields): void {
    const line = new LogLine(level, text, fields);
    try {
      this.logger[level](line);
    } catch (error) {
      if (this.isReported) return;
      this.isReported = true;
      process.emitWarning(
        `The application's logger threw ${oneLine(String(error))}; nestjs-resilient-grpc loses log lines until you fix the logger. ` +
          `First lost line: ${oneLine(text)}`,
      );
    }
  }
}
