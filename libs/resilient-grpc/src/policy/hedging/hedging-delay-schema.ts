import { closest } from '../../errors/closest.js';
import { converted, type Schema } from '../options/option-schemas.js';
import { choiceText } from '../options/value-rules.js';
import { HEDGING_PERCENTILES, type HedgingPercentile } from './measured-delay.js';

const WORDS = Object.keys(HEDGING_PERCENTILES);

/** True if the value is 'p90', 'p95', or 'p99'. */
export function isHedgingPercentile(value: unknown): value is HedgingPercentile {
  return typeof value === 'string' && Object.hasOwn(HEDGING_PERCENTILES, value);
}

/** A hedging delay that follows latency: 'p90', 'p95', or 'p99'. Fixed delays belong in a service config. */
export const hedgingDelay: Schema<HedgingPercentile> = converted(
  choiceText(WORDS),
  (value) => (isHedgingPercentile(value) ? value : undefined),
  (value) => {
    const word = typeof value === 'string' ? closest(value, WORDS) : undefined;
    if (word !== undefined) return `'${word}'`;
    const isFixed = typeof value === 'number' || (typeof value === 'string' && /^\d/.test(value));
    return isFixed ? 'a fixed delay as `hedgingDelay` of a hedgingPolicy in `serviceConfig`' : undefined;
  },
);
