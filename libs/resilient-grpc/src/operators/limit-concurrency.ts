import { Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { ConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import type { ConcurrencyLimit } from './concurrency-limit.js';
import { CancellableRun } from './cancellable-run.js';

/**
 * Subscribes to the source when `limit` grants a permit, in FIFO order. Fails immediately with `ConcurrencyLimitError` if the queue is
 * full. The permit is released before the error or completion is emitted, so that a resubscription in response can acquire it.
 */
export function limitConcurrency<T>(limit: ConcurrencyLimit): MonoTypeOperatorFunction<T> {
  const { permits } = limit;
  return (source) =>
    new Observable((subscriber) => {
      const run = new CancellableRun<T>();
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
      // Registered before `acquire`: a synchronous source may cause the subscriber to unsubscribe inside `permitted`.
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
