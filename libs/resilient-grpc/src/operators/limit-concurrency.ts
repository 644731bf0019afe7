import { Observable, type MonoTypeOperatorFunction } from 'rxjs';
import { ConcurrencyLimitError } from '../errors/concurrency-limit-error.js';
import type { PermitOutcome } from '../policy/concurrency/permit-outcome.js';
import { systemClock } from '../time/clock.js';
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
      /** Start of the run in monotonic milliseconds; `undefined` if no permit is held. */
      let startedAt: number | undefined;
      const releasePermit = (outcome: PermitOutcome): void => {
        if (startedAt === undefined) return;
        const latencyMs = systemClock.now() - startedAt;
        startedAt = undefined;
        permits.release(outcome, latencyMs);
      };
      const permitted = (): void => {
        startedAt = systemClock.now();
        run.start(source, {
          next: (value) => subscriber.next(value),
          error: (error) => {
            releasePermit('failed');
            subscriber.error(error);
          },
          complete: () => {
            releasePermit('succeeded');
            subscriber.complete();
          },
        });
      };
      const waiter = { permitted };
      // Registered before `acquire`, because a synchronous source may cause the subscriber to unsubscribe inside `permitted`.
      subscriber.add(() => {
        permits.remove(waiter);
        run.stop();
        releasePermit('cancelled');
      });
      const result = permits.acquire(waiter);
      if (result === 'permitted') permitted();
      if (result === 'refused') {
        subscriber.error(new ConcurrencyLimitError(permits.maxConcurrent, permits.policy.maxQueued));
      }
    });
}
