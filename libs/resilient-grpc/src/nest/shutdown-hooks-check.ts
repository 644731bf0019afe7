import type { LibraryLogger } from '../telemetry/log/library-logger.js';
import { LogLine } from '../telemetry/log/log-line.js';
import type { Clock, Timer } from '../time/clock.js';

// Delay of the check after startup in milliseconds. enableShutdownHooks() may be called after init, because createApplicationContext() runs
// init itself.
const DELAY_MS = 1_000;

/** Part of the process that the check uses. */
export interface SignalHandling {
  /** True if the process has a listener for SIGTERM or SIGINT. */
  readonly listensForSignals: () => boolean;
  /** True if `NODE_ENV` is 'test'. */
  readonly testing: boolean;
}

/** Returns the signal handling of this process. */
export function signalHandling(): SignalHandling {
  return {
    listensForSignals: () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') > 0,
    testing: process.env['NODE_ENV'] === 'test',
  };
}

/** Warns one second after startup, except in tests, if there are gRPC clients or servers, but no listener for SIGTERM or SIGINT. */
export class ShutdownHooksCheck {
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly signals: SignalHandling,
    private readonly logger: Pick<LibraryLogger, 'warn'>,
  ) {}

  /** Starts the check. Later calls are ignored. `isNeeded` returns false if the application has no gRPC clients or servers. */
  start(isNeeded: () => boolean): void {
    if (this.signals.testing || this.timer !== undefined) return;
    this.timer = this.clock.setTimer(() => {
      if (this.signals.listensForSignals() || !isNeeded()) return;
      const text =
        'enableShutdownHooks() was not called, so SIGTERM cuts off calls in flight; write app.enableShutdownHooks()';
      this.logger.warn(new LogLine('warn', text, { event: 'shutdown-hooks' }));
    }, DELAY_MS);
  }

  stop(): void {
    this.timer?.clear();
  }
}
