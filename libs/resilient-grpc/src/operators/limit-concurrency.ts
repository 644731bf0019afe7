import { Observable, type MonoTypeOperatorFunction } from 'rxjs';
import * as v from 'valibot';
import { ConcurrencyLimitError } from '../errors/operator-errors.js';
import { CancellableRun } from './cancellable-run.js';
import { DEFAULT_MAX_QUEUED, PermitQueue } from '../policy/concurrency/permit-queue.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, object } from '../policy/options/option-schemas.js';

export interface ConcurrencyLimitOptions {
  /** Maximum number of concurrent subscriptions; 1 or more. */
  readonly maxConcurrent: number;
  /** Maximum number of queued subscriptions, 0 or more; further ones fail immediately. @defaultValue 1000 */
  readonly maxQueued?: number | undefined;
}

const schema = object({ maxConcurrent: integer(1), maxQueued: v.optional(integer(0), DEFAULT_MAX_QUEUED) });

/** Permits shared by all subscriptions through `limitConcurrency(limit)`. Uses the same queue as a client's concurrency limit. */
export class ConcurrencyLimit {
  /** Queue that grants the permits. @internal */
  readonly permits: PermitQueue;

  /** @throws {GrpcConfigurationError} if the options are invalid. */
  constructor(options: ConcurrencyLimitOptions) {
    this.permits = new PermitQueue(requireOptions(schema, options, 'concurrencyLimit'));
  }

  /** Number of active subscriptions. */
  get running(): number {
    return this.permits.running;
  }

  /** Number of queued subscriptions. */
  get queued(): number {
    return this.permits.queued;
  }
}

/**
 * Subscribes to the source when `limit` grants a permit, in FIFO order. Fails immediately with `ConcurrencyLimitError` if the queue is
 * full. The permit is released before the error or completion is emitted, so that a resubscription in response can acquire it.
 */
export function limitConcurrency<T>(limit: ConcurrencyLimit): MonoTypeOperatorFunction<T> {
  const { permits } = limit;
  return (source) =>
    new Observable((subscriber) => {
      const run = new CancellableRun<T>();
      let isPermitted = false;
      const releasePermit = (): void => {
        if (!isPermitted) return;
        isPermitted = false;
        // A fixed limit ignores the outcome.
        permits.release('succeeded', 0);
      };
      const permitted = (): void => {
        isPermitted = true;
        run.start(source, {
          next: (value) => subscriber.next(value),
          error: (error) => {
            releasePermit();
            subscriber.error(error);
          },
          complete: () => {
            releasePermit();
            subscriber.complete();
          },
        });
      };
      const waiter = { permitted };
      // Registered before `acquire`, because a synchronous source may cause the subscriber to unsubscribe inside `permitted`.
      subscriber.add(() => {
        permits.remove(waiter);
        run.stop();
        releasePermit();
      });
      const result = permits.acquire(waiter);
      if (result === 'permitted') permitted();
      if (result === 'refused') {
        subscriber.error(new ConcurrencyLimitError(permits.maxConcurrent, permits.policy.maxQueued));
      }
    });
}
