import { Logger } from '@nestjs/common';
import type { LogLevel } from './log-line.js';
import { oneLine } from './log-text.js';

/**
 * The Nest logger for the lines of this library. It catches errors that the application's logger throws. Most lines are written in timers
 * and connection events, where an uncaught error would crash the process during an outage. A failing logger must also never make a call or
 * the application's startup fail.
 */
export class LibraryLogger extends Logger {
  private isReported = false;

  override debug(message: unknown): void {
    this.guarded('debug', message);
  }

  override log(message: unknown): void {
    this.guarded('log', message);
  }

  override warn(message: unknown): void {
    this.guarded('warn', message);
  }

  override error(message: unknown): void {
    this.guarded('error', message);
  }

  private guarded(level: LogLevel, message: unknown): void {
    try {
      super[level](message);
    } catch (error) {
      if (this.isReported) return;
      this.isReported = true;
      process.emitWarning(
        `The application's logger threw ${oneLine(String(error))}; nestjs-resilient-grpc loses log lines until you fix the logger. ` +
          `First lost line: ${oneLine(String(message))}`,
      );
    }
  }
}

/**
 * True if Nest enables the `debug` level, or if it reports every level as disabled, as Nest 11 does without a list of log levels. This case
 * is detected with 'fatal', which every non-empty list enables.
 */
export function isDebugEnabled(): boolean {
  return Logger.isLevelEnabled('debug') || !Logger.isLevelEnabled('fatal');
}
