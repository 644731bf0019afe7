import { DEFAULT_MAX_QUEUED, PermitQueue } from '../policy/concurrency/permit-queue.js';
import { readInteger } from '../policy/service-config/read.js';
import { readOptions } from './options.js';

/** Options of a `ConcurrencyLimit`. */
export interface ConcurrencyLimitOptions {
  /** Maximum number of concurrent subscriptions; 1 or more. */
  readonly maxConcurrent: number;
  /** Maximum number of queued subscriptions, 0 or more; further ones fail immediately. @defaultValue 1000 */
  readonly maxQueued?: number | undefined;
}

/** Permits shared by all subscriptions through `limitConcurrency(limit)`. Uses the same queue as a client's concurrency limit. */
export class ConcurrencyLimit {
  /** Queue that grants the permits. @internal */
  readonly permits: PermitQueue;

  /** @throws {GrpcConfigurationError} if the options are invalid. */
  constructor(options: ConcurrencyLimitOptions) {
    this.permits = new PermitQueue(
      readOptions((problems) => ({
        maxConcurrent: readInteger(options.maxConcurrent, 'concurrencyLimit.maxConcurrent', problems, 1) ?? 1,
        maxQueued: readInteger(options.maxQueued ?? DEFAULT_MAX_QUEUED, 'concurrencyLimit.maxQueued', problems, 0) ?? 0,
      })),
    );
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
