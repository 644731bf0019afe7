import * as v from 'valibot';
import { flag, object, positiveMilliseconds } from '../policy/options/option-schemas.js';
import { requireOptions } from '../policy/options/option-problems.js';

const key = v.optional(v.pipe(v.string(), v.nonEmpty()));

const SCHEMAS = {
  'GrpcChannelHealthIndicator.check': object({ key, required: v.optional(flag) }),
  'GrpcChannelHealthIndicator.checkAll': object({
    except: v.optional(v.array(v.union([v.string(), v.symbol()]))),
  }),
  'GrpcServingHealthIndicator.check': object({
    key,
    service: v.optional(v.string()),
    timeoutMs: v.optional(positiveMilliseconds),
    mode: v.optional(v.picklist(['check', 'watch'])),
  }),
} as const;

/** Validates the options given to `method`. @throws GrpcConfigurationError with every problem found. */
export function assertOptions(method: keyof typeof SCHEMAS, options: unknown): void {
  requireOptions(SCHEMAS[method], options, method);
}
