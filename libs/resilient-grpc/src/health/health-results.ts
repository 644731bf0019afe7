import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import type { ChannelHealth } from './channel-health.js';

// Terminus's service has no relevant state; a separate instance avoids importing Terminus's module.
const indicators = new HealthIndicatorService();

/** Converts `health` to a Terminus result under `key`. */
export function healthResult<const N extends string>(
  key: N,
  { status, details }: ChannelHealth,
): HealthIndicatorResult<N> {
  const session = indicators.check(key);
  if (status === 'up') return session.up(details);
  if (status === 'down') return session.down(details);
  // Terminus 11 supports only up and down, and drops any other status, so 'degraded' becomes up with `degraded: true`.
  if ('degraded' in session) return session.degraded(details);
  const result: HealthIndicatorResult = { [key]: { ...details, degraded: true, status: 'up' } };
  return result;
}
