import { closest } from '../../errors/closest.js';
import { converted, type Schema } from '../options/option-schemas.js';
import { numberRemedy } from '../options/value-rules.js';
import { MAX_TIMER_MS } from '../../time/clock.js';
import { HEDGING_PERCENTILES, type HedgingPercentile } from './measured-delay.js';

const WORDS = Object.keys(HEDGING_PERCENTILES);

/** True if the value is 'p90', 'p95', or 'p99'. */
export function isHedgingPercentile(value: unknown): value is HedgingPercentile {
  return typeof value === 'string' && Object.hasOwn(HEDGING_PERCENTILES, value);
}

/** The option `hedge`: a delay in milliseconds, or one that follows latency: 'p90', 'p95', or 'p99'. */
export const hedgeSchema: Schema<HedgingPercentile | number> = converted(
  `${WORDS.map((word) => `'${word}'`).join(', ')}, or a number of milliseconds above 0`,
  (value) => (isHedgingPercentile(value) || isDelay(value) ? value : undefined),
  (value) => {
    const word = typeof value === 'string' ? closest(value, WORDS) : undefined;
    return word === undefined ? numberRemedy(value, isDelay)?.replace(/^write /, '') : `'${word}'`;
  },
);

function isDelay(value: unknown): value is number {
  return typeof value === 'number' && value > 0 && value <= MAX_TIMER_MS;
}
