import type { LibraryLogger } from '../telemetry/log/library-logger.js';
import type { Clock, Timer } from '../time/clock.js';

// Delay of the check after startup in milliseconds. enableShutdownHooks() may be called after init, because createApplicationContext() runs
// init itself.
const DELAY_MS = 1_000;

/** Time in milliseconds in which further SIGINTs count as the first one: of one Ctrl+C, npm forwards a second signal. */
const SAME_INTERRUPT_MS = 500;

/** Signals of the process. */
export interface SignalHandling {
  /** True if the process has a listener for SIGTERM or SIGINT. */
  readonly listensForSignals: () => boolean;
  /** True if `NODE_ENV` is 'test'. */
  readonly testing: boolean;
  /** Calls `listener` on SIGINT from now on, if the process already listens for it. Returns a function that ends this. */
  readonly onInterrupt: (listener: () => void) => () => void;
}

/** Returns the signal handling of this process. */
export function signalHandling(): SignalHandling {
  return {
    listensForSignals: () => process.listenerCount('SIGTERM') + process.listenerCount('SIGINT') > 0,
    testing: process.env['NODE_ENV'] === 'test',
    onInterrupt: (listener) => {
      // Without another listener, SIGINT ends the process at once, which a listener would prevent.
      if (process.listenerCount('SIGINT') === 0) return () => undefined;
      process.on('SIGINT', listener);
      return () => process.off('SIGINT', listener);
    },
  };
}

/** Calls `cutOff` on a second SIGINT, during a shutdown that begins now. Returns a function that ends this. */
export function onSecondInterrupt(signals: SignalHandling, clock: Clock, cutOff: () => void): () => void {
  const beganAt = clock.now();
  return signals.onInterrupt(() => {
    if (clock.now() - beganAt >= SAME_INTERRUPT_MS) cutOff();
  });
}

/** Warns one second after startup, except in tests, if there are gRPC clients or servers, but no listener for SIGTERM or SIGINT. */
export class ShutdownHooksCheck {
  private timer: Timer | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly signals: SignalHandling,
    private readonly logger: Pick<LibraryLogger, 'write'>,
  ) {}

  /** Starts the check. Later calls are ignored. `isNeeded` returns false if the application has no gRPC clients or servers. */
  start(isNeeded: () => boolean): void {
    if (this.signals.testing || this.timer !== undefined) return;
    this.timer = this.clock.setTimer(() => {
      if (this.signals.listensForSignals() || !isNeeded()) return;
      const text =
        'enableShutdownHooks() was not called, so SIGTERM cuts off calls in flight; write app.enableShutdownHooks()';
      this.logger.write('warn', text, { event: 'shutdown-hooks' });
    }, DELAY_MS);
  }

  stop(): void {
    this.timer?.clear();
  }
}
