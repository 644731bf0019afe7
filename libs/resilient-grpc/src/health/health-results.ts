import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import type { ChannelHealth } from './channel-health.js';

// Terminus gives its service no state that matters here; one of our own needs no import of its module.
const indicators = new HealthIndicatorService();

/** `health` under `key`, in Terminus' words. */
export function healthResult<const N extends string>(
  key: N,
  { status, details }: ChannelHealth,
): HealthIndicatorResult<N> {
  const session = indicators.check(key);
  if (status === 'up') return session.up(details);
  if (status === 'down') return session.down(details);
  // Terminus 11 knows up and down only, and drops what is neither.
  const degraded = 'degraded' in session ? session.degraded(details) : upButDegraded(key, details);
  return degraded;
}

function upButDegraded(key: string, details: Readonly<Record<string, unknown>>): HealthIndicatorResult {
  return { [key]: { ...details, degraded: true, status: 'up' } };
}
