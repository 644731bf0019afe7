import { Logger } from '@nestjs/common';
import type { LogLevel } from './log-line.js';
import { oneLine } from './log-text.js';

/**
 * Nest's logger as all lines of this library go by it. What the application's logger throws ends here: most lines are written from
 * timers and events of connections, where it would end the process in the middle of an outage, and none is worth a call or a start.
 */
export class LibraryLogger extends Logger {
  private isTold = false;

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
      if (this.isTold) return;
      this.isTold = true;
      process.emitWarning(
        `The logger of this application threw ${oneLine(String(error))}, and lines of nestjs-resilient-grpc are lost; ` +
          'the first: ' +
          oneLine(String(message)),
      );
    }
  }
}
