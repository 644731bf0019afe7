import { DEFAULT_MAX_QUEUED } from '../policy/concurrency/concurrency-policy.js';
import { PermitQueue } from '../policy/concurrency/permit-queue.js';
import { readInteger } from '../policy/service-config/read.js';
import { readOptions } from './options.js';

/** Options of a `ConcurrencyLimit`. */
export interface ConcurrencyLimitOptions {
  /** Subscriptions that run at once; 1 or more. */
  readonly maxConcurrent: number;
  /** Subscriptions that may wait for it, 0 or more; beyond, they fail at once. @defaultValue 1000 */
  readonly maxQueued?: number | undefined;
}

/** The permits that all subscriptions through `limitConcurrency(limit)` share. The same queue as a client's. */
export class ConcurrencyLimit {
  /** What decides. @internal */
  readonly permits: PermitQueue;

  /** @throws {GrpcConfigurationError} for options that are none. */
  constructor(options: ConcurrencyLimitOptions) {
    this.permits = new PermitQueue(
      readOptions((problems) => ({
        maxConcurrent: readInteger(options.maxConcurrent, 'concurrencyLimit.maxConcurrent', problems, 1) ?? 1,
        maxQueued: readInteger(options.maxQueued ?? DEFAULT_MAX_QUEUED, 'concurrencyLimit.maxQueued', problems, 0) ?? 0,
      })),
    );
  }

  /** Subscriptions that run. */
  get running(): number {
    return this.permits.running;
  }

  /** Subscriptions that wait. */
  get queued(): number {
    return this.permits.queued;
  }
}
