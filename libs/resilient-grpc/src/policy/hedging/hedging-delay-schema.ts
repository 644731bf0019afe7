import * as v from 'valibot';
import { MAX_TIMER_MS } from '../../time/clock.js';
import { HEDGING_PERCENTILES, type HedgingPercentile } from './measured-delay.js';

const WORDS = Object.keys(HEDGING_PERCENTILES);

/** The option `hedge`: a delay in milliseconds, or one that follows latency: 'p90', 'p95', or 'p99'. */
export const hedgeSchema = v.custom<HedgingPercentile | number>(
  (value) =>
    typeof value === 'number' ? value > 0 && value <= MAX_TIMER_MS : typeof value === 'string' && WORDS.includes(value),
  `${WORDS.map((word) => `'${word}'`).join(', ')}, or a number of milliseconds above 0`,
);
