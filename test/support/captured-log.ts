import type { LoggerService } from '@nestjs/common';

/** One line that was passed to Nest's logger. */
export interface LogLine {
  readonly level: 'debug' | 'log' | 'warn' | 'error';
  readonly context: string;
  readonly text: string;
}

/** A Nest logger for tests: prints nothing and keeps all lines. */
export class CapturedLog implements LoggerService {
  readonly lines: LogLine[] = [];

  debug(message: unknown, ...rest: unknown[]): void {
    this.keep('debug', message, rest);
  }
  verbose(message: unknown, ...rest: unknown[]): void {
    this.keep('debug', message, rest);
  }
  log(message: unknown, ...rest: unknown[]): void {
    this.keep('log', message, rest);
  }
  warn(message: unknown, ...rest: unknown[]): void {
    this.keep('warn', message, rest);
  }
  error(message: unknown, ...rest: unknown[]): void {
    this.keep('error', message, rest);
  }

  private keep(level: LogLine['level'], message: unknown, rest: unknown[]): void {
    const context = rest.at(-1);
    this.lines.push({ level, context: typeof context === 'string' ? context : '', text: String(message) });
  }
}
