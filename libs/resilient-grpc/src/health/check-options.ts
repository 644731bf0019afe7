import * as v from 'valibot';
import { flag, milliseconds, object, oneOf } from '../policy/options/option-schemas.js';
import { POSITIVE } from '../policy/options/value-rules.js';
import { requireOptions } from '../policy/options/option-problems.js';

const nonEmpty = (what: string) => v.pipe(v.string(what), v.nonEmpty(what));
const name = v.optional(nonEmpty("a non-empty name such as 'orders'"));
const clientName = v.custom<string | symbol>(
  (value) => typeof value === 'string' || typeof value === 'symbol',
  'a client name',
);

const SCHEMAS = {
  'GrpcChannelHealthIndicator.check': object(
    { key: name, required: v.optional(flag) },
    'an object such as { required: false }',
  ),
  'GrpcChannelHealthIndicator.checkAll': object(
    { except: v.optional(v.array(clientName, "an array of client names such as ['orders']")) },
    "an object such as { except: ['audit'] }",
  ),
  'GrpcServingHealthIndicator.check': object(
    {
      key: name,
      service: v.optional(v.string("a full service name such as 'orders.v1.Orders', or '' for the whole server")),
      timeoutMs: v.optional(milliseconds(POSITIVE)),
      mode: v.optional(oneOf(['check', 'watch'])),
    },
    "an object such as { service: 'orders.v1.Orders' }",
  ),
} as const;

/** Validates the options given to `method`. @throws GrpcConfigurationError with every problem found. */
export function assertOptions(method: keyof typeof SCHEMAS, options: unknown): void {
  requireOptions(SCHEMAS[method], options, method);
}
