import { Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { ConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import type { ConcurrencyLimit } from './concurrency-limit.js';
import { StoppableRun } from './stoppable-run.js';

/**
 * Subscribes when `limit` has a permit, first come, first served; fails at once with `ConcurrencyLimitError` when too many wait
 * already. The permit is given back before the end is passed on, so that who subscribes anew in answer to it finds it free.
 */
export function limitConcurrency<T>(limit: ConcurrencyLimit): MonoTypeOperatorFunction<T> {
  const { permits } = limit;
  return (source) =>
    new Observable((subscriber) => {
      const run = new StoppableRun<T>();
      let holdsPermit = false;
      const giveBack = (): void => {
        if (!holdsPermit) return;
        holdsPermit = false;
        permits.release();
      };
      const permitted = (): void => {
        holdsPermit = true;
        run.start(source, {
          next: (value) => subscriber.next(value),
          error: (error) => {
            giveBack();
            subscriber.error(error);
          },
          complete: () => {
            giveBack();
            subscriber.complete();
          },
        });
      };
      const waiter = { deadline: Infinity, permitted };
      // First, since a synchronous source may have the subscriber leave within `permitted`.
      subscriber.add(() => {
        permits.leave(waiter);
        run.stop();
        giveBack();
      });
      const answer = permits.acquire(waiter);
      if (answer === 'permitted') permitted();
      if (answer === 'refused') {
        subscriber.error(new ConcurrencyLimitError(permits.policy.maxConcurrent, permits.policy.maxQueued));
      }
    });
}
