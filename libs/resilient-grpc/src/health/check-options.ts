import * as v from 'valibot';
import { flag, milliseconds, orUndefined, POSITIVE } from '../client/settings/schema-values.js';
import { describeValue } from '../client/settings/describe-value.js';
import { optionProblems } from '../client/settings/validate-options.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';

const name = (what: string) => orUndefined(v.pipe(v.string(what), v.nonEmpty(what)));
const names = orUndefined(v.array(v.string('a client name'), "an array of client names such as ['orders']"));

const SCHEMAS = {
  'GrpcChannelHealthIndicator.check': v.object(
    { key: name("a non-empty name such as 'orders'"), required: orUndefined(flag) },
    'an object such as { required: false }',
  ),
  'GrpcChannelHealthIndicator.checkAll': v.object(
    { only: names, except: names },
    "an object such as { except: ['audit'] }",
  ),
  'GrpcServingHealthIndicator.check': v.object(
    {
      key: name("a non-empty name such as 'orders'"),
      service: orUndefined(v.string("a full service name such as 'orders.v1.Orders', or '' for the whole server")),
      timeoutMs: orUndefined(milliseconds(POSITIVE)),
      mode: orUndefined(v.picklist(['check', 'watch'], "'check' or 'watch'")),
    },
    "an object such as { service: 'orders.v1.Orders' }",
  ),
} as const;

/** Validates the options given to `method`. @throws GrpcConfigurationError with every problem found. */
export function assertOptions(method: keyof typeof SCHEMAS, options: unknown): void {
  const problems = optionProblems(SCHEMAS[method], options, method);
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
}

/** Validates the key of a result. @throws GrpcConfigurationError if `key` is not a non-empty string. */
export function assertKey(method: string, key: unknown): void {
  if (typeof key === 'string' && key !== '') return;
  const problem: ConfigurationProblem = {
    path: `${method}.key`,
    message: `expected a non-empty name such as 'process', got ${describeValue(key)}`,
  };
  throw new GrpcConfigurationError([problem]);
}
