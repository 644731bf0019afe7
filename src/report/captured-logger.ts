import type { ConsoleLogger, LoggerService, LogLevel } from '@nestjs/common';
import { type Observable, Subject } from 'rxjs';

/** A line of Nest's logger. */
export interface LogLine {
  readonly level: LogLevel;
  readonly context: string;
  readonly message: string;
  readonly atMs: number;
}

/** Contexts of the library's lines: `ResilientGrpc:orders`, `ResilientGrpcServer`. */
const LIBRARY_CONTEXT = /^ResilientGrpc(Server)?\b/;

/** A logger for Nest that also emits the lines of the library. */
export class CapturedLogger implements LoggerService {
  private readonly lines = new Subject<LogLine>();

  /** @param terminal also receives the lines of every context, except those with the level `debug` or `verbose` */
  constructor(private readonly terminal?: ConsoleLogger) {}

  /** Emits the lines of the library when they are logged. */
  get lines$(): Observable<LogLine> {
    return this.lines;
  }

  log(message: unknown, ...rest: unknown[]): void {
    this.capture('log', message, rest);
    this.terminal?.log(message, ...rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.capture('warn', message, rest);
    this.terminal?.warn(message, ...rest);
  }

  error(message: unknown, ...rest: unknown[]): void {
    this.capture('error', message, rest);
    this.terminal?.error(message, ...rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.capture('fatal', message, rest);
    this.terminal?.fatal(message, ...rest);
  }

  private capture(level: LogLevel, message: unknown, rest: readonly unknown[]): void {
    // Nest passes the context as the last argument, after a stack if there is one.
    const context = rest.at(-1);
    if (typeof context !== 'string' || !LIBRARY_CONTEXT.test(context)) return;
    this.lines.next({ level, context, message: String(message), atMs: Date.now() });
  }
}

/** Formats a line for the terminal: `WARN [ResilientGrpc:orders] …`. */
export function formatLogLine({ level, context, message }: LogLine): string {
  return `${level.toUpperCase().padEnd(4)} [${context}] ${message}`;
}
