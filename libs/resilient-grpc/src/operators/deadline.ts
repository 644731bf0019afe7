import { asyncScheduler, Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { DeadlineError } from '../errors/deadline-error.js';
import { readOptions } from './options.js';
import { timerMs, type SchedulerOptions } from './scheduler-options.js';
import { CancellableRun } from './cancellable-run.js';

/**
 * Fails with `DeadlineError` and unsubscribes if the source has not ended `ms` milliseconds after the subscription. With 0 or less, fails
 * without subscribing. Infinity means no deadline. Outside `retryBackoff` it bounds all attempts together, inside it each attempt.
 * @throws {GrpcConfigurationError} if `ms` is not a number.
 */
export function deadline<T>(ms: number, dependencies: SchedulerOptions = {}): MonoTypeOperatorFunction<T> {
  readOptions((problems) => {
    if (typeof ms !== 'number' || Number.isNaN(ms)) problems.add('deadline', 'a number of milliseconds', ms);
  });
  const { scheduler = asyncScheduler } = dependencies;
  if (ms === Infinity) return (source) => source;
  return (source) =>
    new Observable((subscriber) => {
      const run = new CancellableRun<T>();
      const pass = (): void => {
        run.stop();
        subscriber.error(new DeadlineError(ms));
      };
      if (ms <= 0) return pass();
      // Scheduled before the source is subscribed, which may end or use up the time synchronously.
      subscriber.add(scheduler.schedule(pass, timerMs(ms)));
      subscriber.add(() => run.stop());
      run.start(source, subscriber);
    });
}
