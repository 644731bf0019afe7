import * as v from 'valibot';
import { DEFAULT_MAX_QUEUED } from '../policy/concurrency/concurrency-policy.js';
import { PermitQueue } from '../policy/concurrency/permit-queue.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { integer, openObject } from '../policy/options/option-schemas.js';

/** Options of a `ConcurrencyLimit`. */
export interface ConcurrencyLimitOptions {
  /** Maximum number of concurrent subscriptions; 1 or more. */
  readonly maxConcurrent: number;
  /** Maximum number of queued subscriptions, 0 or more; further ones fail immediately. @defaultValue 1000 */
  readonly maxQueued?: number | undefined;
}

const optionsSchema = openObject(
  { maxConcurrent: integer(1), maxQueued: v.optional(integer(0), DEFAULT_MAX_QUEUED) },
  'an object such as { maxConcurrent: 10 }',
);

/** Permits shared by all subscriptions through `limitConcurrency(limit)`. Uses the same queue as a client's concurrency limit. */
export class ConcurrencyLimit {
  /** Queue that grants the permits. @internal */
  readonly permits: PermitQueue;

  /** @throws {GrpcConfigurationError} if the options are invalid. */
  constructor(options: ConcurrencyLimitOptions) {
    this.permits = new PermitQueue(requireOptions(optionsSchema, options, 'concurrencyLimit'));
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
