import * as v from 'valibot';
import { integer, milliseconds, object } from '../options/option-schemas.js';
import { POSITIVE } from '../options/value-rules.js';

const aboveOne = 'a number above 1, or Infinity to disable the latency rules';
const percent = 'a number above 0 and at most 100';

const options = object(
  {
    consecutiveFailures: v.optional(integer(1)),
    failurePercent: v.optional(v.pipe(v.number(percent), v.gtValue(0, percent), v.maxValue(100, percent))),
    latencyFactor: v.optional(v.pipe(v.number(aboveOne), v.gtValue(1, aboveOne))),
    baseEjectionTimeMs: v.optional(milliseconds(POSITIVE)),
    maxEjectionTimeMs: v.optional(milliseconds(POSITIVE)),
    panicThresholdPercent: v.optional(integer(0, 100)),
    slowStartMs: v.optional(milliseconds(0)),
  },
  'an object such as { consecutiveFailures: 5 }',
  {
    maxEjectionPercent: 'write panicThresholdPercent, the minimum percentage of endpoints in use',
    baseEjectionTime: 'write baseEjectionTimeMs',
    maxEjectionTime: 'write maxEjectionTimeMs',
    interval: 'remove it; endpoints are checked every 250 ms',
  },
);

const onOrOff = v.boolean('true, false, or an object such as { consecutiveFailures: 5 }');

/** The option `ejectUnhealthy`. */
export const ejectUnhealthySchema = v.lazy((value) =>
  typeof value === 'object' && value !== null ? options : onOrOff,
);
