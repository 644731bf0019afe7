import { asyncScheduler, Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { IdleTimeoutError } from '../errors/idle-timeout-error.js';
import { PeerTimer } from '../time/peer-timer.js';
import { readLength, readOptions } from './options.js';
import { schedulerClock } from './scheduler-clock.js';
import type { Seams } from './seams.js';
import { StoppableRun } from './stoppable-run.js';

/**
 * Fails with `IdleTimeoutError` when nothing came for `ms` milliseconds, since the subscription or the last value, and
 * unsubscribes. Time in which the event loop of this process was blocked does not count. Infinity: never.
 * @throws {GrpcConfigurationError} when `ms` is no number above 0.
 */
export function idleTimeout<T>(ms: number, seams: Seams = {}): MonoTypeOperatorFunction<T> {
  readOptions((problems) => readLength(ms, 'idleTimeout', problems));
  const { scheduler = asyncScheduler } = seams;
  if (ms === Infinity) return (source) => source;
  const clock = schedulerClock(scheduler);
  return (source) =>
    new Observable((subscriber) => {
      const run = new StoppableRun<T>();
      let timer: PeerTimer | undefined;
      const fail = (): void => {
        run.stop();
        subscriber.error(new IdleTimeoutError(ms));
      };
      const arm = (): void => {
        // A source that emits within `next` has armed it already.
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
        error: (error: unknown) => {
          subscriber.error(error);
        },
        complete: () => {
          subscriber.complete();
        },
      });
      // A synchronous source has armed it.
      if (timer === undefined) arm();
    });
}
