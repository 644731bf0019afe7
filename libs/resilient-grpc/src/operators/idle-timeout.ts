import { Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { IdleTimeoutError } from '../errors/operator-errors.js';
import { PeerTimer } from '../time/peer-timer.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { millisecondsOrNever } from '../policy/options/option-schemas.js';
import { schedulerClock, type SchedulerOptions } from './scheduler-clock.js';
import { CancellableRun } from './cancellable-run.js';

/**
 * Fails with `IdleTimeoutError` and unsubscribes if no value arrives for `ms` milliseconds after the subscription or the last value. Time
 * during which the event loop of this process is blocked does not count. Infinity means no timeout.
 * @throws {GrpcConfigurationError} if `ms` is not a number above 0.
 */
export function idleTimeout<T>(ms: number, dependencies: SchedulerOptions = {}): MonoTypeOperatorFunction<T> {
  requireOptions(millisecondsOrNever, ms, 'idleTimeout');
  if (ms === Infinity) return (source) => source;
  const clock = schedulerClock(dependencies.scheduler);
  return (source) =>
    new Observable((subscriber) => {
      const run = new CancellableRun<T>();
      let timer: PeerTimer | undefined;
      const fail = (): void => {
        run.stop();
        subscriber.error(new IdleTimeoutError(ms));
      };
      const arm = (): void => {
        // Clears the timer that a value emitted inside `next` may have armed.
        timer?.clear();
        if (!subscriber.closed) timer = new PeerTimer(clock, ms, fail);
      };
      subscriber.add(() => {
        timer?.clear();
        run.stop();
      });
      run.start(source, {
        next: (value) => {
          timer?.clear();
          subscriber.next(value);
          arm();
        },
        error: (error: unknown) => subscriber.error(error),
        complete: () => subscriber.complete(),
      });
      // A source that emitted synchronously has already armed the timer.
      if (timer === undefined) arm();
    });
}
