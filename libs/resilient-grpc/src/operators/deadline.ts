import { asyncScheduler, Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { DeadlineError } from '../errors/deadline-error.js';
import { readOptions } from './options.js';
import { timerMs, type Seams } from './seams.js';
import { StoppableRun } from './stoppable-run.js';

/**
 * Fails with `DeadlineError` when the whole has not ended `ms` milliseconds after it was subscribed, and unsubscribes. With no
 * time at all (0 or less) nothing is subscribed. Infinity: no deadline. Outside of `retryBackoff` it bounds all attempts
 * together, inside of it each of them.
 * @throws {GrpcConfigurationError} when `ms` is no number.
 */
export function deadline<T>(ms: number, seams: Seams = {}): MonoTypeOperatorFunction<T> {
  readOptions((problems) => {
    if (typeof ms !== 'number' || Number.isNaN(ms)) problems.add('deadline', 'a number of milliseconds', ms);
  });
  const { scheduler = asyncScheduler } = seams;
  if (ms === Infinity) return (source) => source;
  return (source) =>
    new Observable((subscriber) => {
      const run = new StoppableRun<T>();
      const pass = (): void => {
        run.stop();
        subscriber.error(new DeadlineError(ms));
      };
      if (ms <= 0) return pass();
      // Before the source, which may take or end all of it synchronously.
      subscriber.add(scheduler.schedule(pass, timerMs(ms)));
      subscriber.add(() => {
        run.stop();
      });
      run.start(source, subscriber);
    });
}
