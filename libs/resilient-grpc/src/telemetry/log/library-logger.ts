import { Logger } from '@nestjs/common';
import { LogLine, type EventFields, type LogLevel, type LogSink } from './log-line.js';
import { oneLine } from './log-text.js';

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
