import { Observable, type MonoTypeOperatorFunction, type Subscriber } from 'rxjs';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, milliseconds, object } from '../policy/options/option-schemas.js';
import type { Clock } from '../time/clock.js';
import { PeerTimer } from '../time/peer-timer.js';
import { isTransient } from './error-status.js';
import { schedulerClock, schedulerEntries, type SchedulerOptions } from './scheduler-clock.js';
import { CancellableRun } from './cancellable-run.js';

export interface HedgeOptions extends SchedulerOptions {
  /** Maximum number of attempts, including the original; 1 or more. */
  readonly maxAttempts: number;
  /**
   * Time to wait for the first value before another attempt starts, in milliseconds. 0 starts all attempts at once; Infinity starts another
   * attempt only after a failure.
   */
  readonly delayMs: number;
}

/**
 * Starts another attempt if the first value is slow, and uses the first attempt that emits or completes. All other attempts are
 * unsubscribed before the first value or the completion is emitted. A failed attempt is replaced immediately, up to `maxAttempts`. A final
 * error, which `retryBackoff` would not retry by default, ends all attempts and is emitted. If all attempts fail, the last error is
 * emitted. Time during which the event loop of this process is blocked does not count toward `delayMs`.
 *
 * The operator has no budget: if all attempts are slow, it multiplies the load by `maxAttempts`. A `hedgingPolicy` of the client has a
 * budget.
 * @throws {GrpcConfigurationError} if the options are invalid.
 */
export function hedge<T>(options: HedgeOptions): MonoTypeOperatorFunction<T> {
  const policy = requireOptions(schema, options, 'hedge');
  const clock = schedulerClock(options.scheduler);
  return (source) => new Observable((subscriber) => new HedgedRun(source, subscriber, policy, clock).begin());
}

const schema = object({ maxAttempts: integer(1), delayMs: milliseconds, ...schedulerEntries });

class HedgedRun<T> {
  private readonly running = new Set<CancellableRun<T>>();
  private started = 0;
  private timer: PeerTimer | undefined;
  private isDecided = false;

  constructor(
    private readonly source: Observable<T>,
    private readonly subscriber: Subscriber<T>,
    private readonly policy: Pick<HedgeOptions, 'maxAttempts' | 'delayMs'>,
    private readonly clock: Clock,
  ) {}

  begin(): void {
    // Added first, because a synchronous source may cause the subscriber to unsubscribe inside this call.
    this.subscriber.add(() => this.keepOnly(undefined));
    this.startNext();
  }

  private readonly startNext = (): void => {
    const { subscriber } = this;
    this.timer?.clear();
    this.started += 1;
    const { started } = this;
    const run = new CancellableRun<T>();
    this.running.add(run);
    run.start(this.source, {
      next: (value) => {
        this.win(run);
        subscriber.next(value);
      },
      complete: () => {
        this.win(run);
        subscriber.complete();
      },
      error: (error: unknown) => {
        this.running.delete(run);
        if (!this.isDecided && isTransient(error)) {
          if (this.started < this.policy.maxAttempts) return this.startNext();
          if (this.running.size > 0) return;
        }
        this.keepOnly(undefined);
        subscriber.error(error);
      },
    });
    // A synchronous failure has already started the next attempt.
    if (this.started === started && started < this.policy.maxAttempts) this.arm();
  };

  private arm(): void {
    const { delayMs } = this.policy;
    if (this.isDecided || delayMs === Infinity) return;
    if (delayMs === 0) this.startNext();
    else this.timer = new PeerTimer(this.clock, delayMs, this.startNext);
  }

  private win(run: CancellableRun<T>): void {
    if (!this.isDecided) this.keepOnly(run);
  }

  private keepOnly(kept: CancellableRun<T> | undefined): void {
    this.isDecided = true;
    this.timer?.clear();
    for (const run of this.running) {
      if (run === kept) continue;
      this.running.delete(run);
      run.stop();
    }
  }
}
