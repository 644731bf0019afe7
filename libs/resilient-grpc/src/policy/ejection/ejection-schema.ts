import * as v from 'valibot';
import { integer, milliseconds, object } from '../options/option-schemas.js';
import { POSITIVE } from '../options/value-rules.js';

const aboveOne = 'a number above 1, or Infinity to disable the latency rules';

const options = object(
  {
    consecutiveFailures: v.optional(integer(1)),
    latencyFactor: v.optional(v.pipe(v.number(aboveOne), v.gtValue(1, aboveOne))),
    baseEjectionTimeMs: v.optional(milliseconds(POSITIVE)),
  },
  'an object such as { consecutiveFailures: 5 }',
);

const onOrOff = v.boolean('true, false, or an object such as { consecutiveFailures: 5 }');

/** The option `ejectUnhealthy`. */
export const ejectUnhealthySchema = v.lazy((value) =>
  typeof value === 'object' && value !== null ? options : onOrOff,
);
