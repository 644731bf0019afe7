import { asyncScheduler, Observable, type MonoTypeOperatorFunction } from 'rxjs';
import * as v from 'valibot';
import { DeadlineError } from '../errors/operator-errors.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { MAX_TIMER_MS } from '../time/clock.js';
import { timerMs, type SchedulerOptions } from './scheduler-clock.js';
import { CancellableRun } from './cancellable-run.js';

/**
 * Fails with `DeadlineError` and unsubscribes if the source has not ended `ms` milliseconds after the subscription. Fails without
 * subscribing if `ms` is 0 or less. Infinity means no deadline. After `retryBackoff` in a pipe, the deadline bounds all attempts together;
 * before `retryBackoff`, it bounds each attempt.
 * @throws {GrpcConfigurationError} if `ms` is not a number.
 */
export function deadline<T>(ms: number, dependencies: SchedulerOptions = {}): MonoTypeOperatorFunction<T> {
  requireOptions(v.number(), ms, 'deadline');
  const { scheduler = asyncScheduler } = dependencies;
  if (ms === Infinity) return (source) => source;
  return (source) =>
    new Observable((subscriber) => {
      const run = new CancellableRun<T>();
      const expire = (): void => {
        run.stop();
        subscriber.error(new DeadlineError(ms));
      };
      // A deadline longer than the maximum delay of a timer requires several timers.
      const arm = (leftMs: number): void => {
        const next = leftMs > MAX_TIMER_MS ? () => arm(leftMs - MAX_TIMER_MS) : expire;
        subscriber.add(scheduler.schedule(next, timerMs(leftMs)));
      };
      if (ms <= 0) return expire();
      // Scheduled before subscribing, because the source may end or use up the time synchronously.
      arm(ms);
      subscriber.add(() => run.stop());
      run.start(source, subscriber);
    });
}
