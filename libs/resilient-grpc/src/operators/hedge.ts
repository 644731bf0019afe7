import { Observable, type MonoTypeOperatorFunction, type Subscriber } from 'rxjs';
import { SUCCESS } from '../policy/evidence/classify.js';
import {
  decideHedge,
  type HedgeEvent,
  type HedgeGates,
  UNSENT,
  type HedgeState,
} from '../policy/hedging/decide-hedge.js';
import { NO_PUSHBACK } from '../policy/pushback/parse-pushback.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, milliseconds, object } from '../policy/options/option-schemas.js';
import { StatusCode } from '../status/status-code.js';
import type { Clock, Timer } from '../time/clock.js';
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
  const { delayMs, maxAttempts } = requireOptions(schema, options, 'hedge');
  const gates: HedgeGates = {
    policy: { maxAttempts, hedgingDelayMs: delayMs, nonFatalStatusCodes: NON_FATAL },
    retries: { onFailure: () => undefined, tryRetry: () => true },
    hedges: { allows: true, onHedge: () => undefined },
    remainingMs: Infinity,
    draining: false,
  };
  const clock = schedulerClock(options.scheduler);
  return (source) => new Observable((subscriber) => new HedgedRun(source, subscriber, gates, clock).begin());
}

const schema = object({ maxAttempts: integer(1), delayMs: milliseconds(0), ...schedulerEntries });

const NON_FATAL = new Set<StatusCode>([StatusCode.UNAVAILABLE]);

class HedgedRun<T> {
  private readonly running = new Set<CancellableRun<T>>();
  private state: HedgeState = UNSENT;
  private timer: Timer | undefined;
  private isDecided = false;

  constructor(
    private readonly source: Observable<T>,
    private readonly subscriber: Subscriber<T>,
    private readonly gates: HedgeGates,
    private readonly clock: Clock,
  ) {}

  begin(): void {
    // Added first, because a synchronous source may cause the subscriber to unsubscribe inside this call.
    this.subscriber.add(() => this.keepOnly(undefined));
    this.onDue();
  }

  private readonly onDue = (): void => {
    // At least `dueAt`, because a timer may fire early.
    this.processEvent({ type: 'due', at: Math.max(this.clock.now(), this.state.dueAt) });
  };

  /** Processes `event` and starts all attempts that are due. Returns 'fail' if the error of `event` ends the subscription. */
  private processEvent(event: HedgeEvent): 'wait' | 'win' | 'fail' {
    for (let next = event; ; next = { type: 'due', at: this.state.dueAt }) {
      const { state, action } = decideHedge(this.state, next, this.gates);
      this.state = state;
      this.timer?.clear();
      // 'resend' never occurs, because it follows only an attempt that was refused or never sent, and `failureEvent` reports neither. The
      // comparison only narrows the type of `action`.
      if (action !== 'send' && action !== 'resend') {
        if (action === 'wait') this.arm();
        return action;
      }
      this.send();
      if (this.isDecided) return 'wait';
      if (this.state.dueAt > this.clock.now()) {
        this.arm();
        return 'wait';
      }
    }
  }

  private arm(): void {
    this.timer?.clear();
    const { dueAt } = this.state;
    if (dueAt === Infinity) return;
    const delayMs = dueAt - this.clock.now();
    this.timer =
      this.running.size > 0 && delayMs > 0
        ? new PeerTimer(this.clock, delayMs, this.onDue)
        : this.clock.setTimer(this.onDue, delayMs);
  }

  private send(): void {
    const { subscriber } = this;
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
        if (!this.isDecided && this.processEvent(failureEvent(error, this.clock.now())) !== 'fail') return;
        this.keepOnly(undefined);
        subscriber.error(error);
      },
    });
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

function failureEvent(error: unknown, at: number): HedgeEvent {
  const code = isTransient(error) ? StatusCode.UNAVAILABLE : StatusCode.UNKNOWN;
  const verdict = { ...SUCCESS, kind: 'server', code } as const;
  return { type: 'ended', at, verdict, pushback: NO_PUSHBACK, lostWith: undefined, delivered: false };
}
