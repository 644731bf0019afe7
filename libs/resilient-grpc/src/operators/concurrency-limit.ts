import { DEFAULT_MAX_QUEUED, PermitQueue } from '../policy/concurrency/permit-queue.js';
import { integerRule, numberProblem } from '../policy/options/value-rules.js';
import { checkOptions, objectProblem, readableOptions } from './options.js';

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
    const { maxConcurrent, maxQueued: givenMaxQueued } = readableOptions(options);
    const maxQueued = givenMaxQueued ?? DEFAULT_MAX_QUEUED;
    checkOptions({
      concurrencyLimit: objectProblem(options, '{ maxConcurrent }'),
      'concurrencyLimit.maxConcurrent': numberProblem(maxConcurrent, integerRule(1)),
      'concurrencyLimit.maxQueued': numberProblem(maxQueued, integerRule(0)),
    });
    this.permits = new PermitQueue({ maxConcurrent, maxQueued });
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
