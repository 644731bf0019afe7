import type { InternalGrpcClient } from '../client/create-client.js';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
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
const names = v.optional(v.array(clientName, "an array of client names such as ['orders']"));

const SCHEMAS = {
  'GrpcReadinessHealthIndicator.check': object(
    { key: v.optional(nonEmpty("a non-empty name such as 'process'")) },
    "an object such as { key: 'process' }",
  ),
  'GrpcChannelHealthIndicator.check': object(
    { key: name, required: v.optional(flag) },
    'an object such as { required: false }',
  ),
  'GrpcChannelHealthIndicator.checkAll': object(
    { only: names, except: names },
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

/** Health of a channel, derived from its state. */
export interface ChannelHealth {
  readonly status: 'up' | 'degraded' | 'down';
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * Returns the health of a channel. READY and IDLE are up. During an outage, the channel is degraded until the grace period ends, and then
 * down. A draining or closed client is down. CONNECTING without an outage is up, but degraded if it lasts longer than the grace period
 * while calls are waiting or have failed. An attempt to connect that receives no response starts an outage only when it fails.
 *
 * @param applicationAccepts true until the application starts to shut down
 */
export function channelHealth(client: InternalGrpcClient, applicationAccepts: boolean): ChannelHealth {
  const { target, connectivity, accepting } = client;
  // Behind a proxy, the channel may be READY while every call fails. These counts show such failures.
  const { windowMs, ended, failed } = client.recentCalls();
  const { state, since, lastError, lastFailure, outage } = connectivity;
  // The details of a healthy channel omit `lastError`: without a timestamp, it would look like a current problem.
  const isWell = outage === undefined && (state === 'READY' || state === 'IDLE');
  const details = {
    state,
    target,
    since: since.toISOString(),
    ...(lastError === undefined || isWell ? {} : { lastError }),
    // Omits the doctor command, which contains the paths of TLS files, because health reports are often public.
    ...(lastFailure === undefined || isWell ? {} : { remedy: lastFailure.remedy }),
    calls: { windowMs: Math.round(windowMs), ended, failed },
  };
  if (state === 'SHUTDOWN') return { status: 'down', details: { ...details, message: 'closed' } };
  if (!accepting || !applicationAccepts) return { status: 'down', details: { ...details, message: 'draining' } };
  if (outage === undefined) {
    const isLate = state === 'CONNECTING' && client.unreachableMs > client.outageGraceMs;
    if (!isLate || (client.waitingCalls === 0 && failed === 0)) return { status: 'up', details };
    const effect = client.waitingCalls > 0 ? 'calls wait' : 'calls have failed';
    return { status: 'degraded', details: { ...details, message: `not connected yet; ${effect}` } };
  }

  const reported = {
    ...details,
    outage: {
      since: outage.since.toISOString(),
      graceEndsAt: outage.graceEndsAt.toISOString(),
      connectAttempts: outage.connectAttempts,
      flapping: outage.flapping,
      ...(outage.nextAttemptAt === undefined ? {} : { nextAttemptAt: outage.nextAttemptAt.toISOString() }),
    },
  };
  return client.isGraceOver
    ? { status: 'down', details: { ...reported, message: 'outage; calls fail' } }
    : { status: 'degraded', details: { ...reported, message: 'outage; calls wait' } };
}

// Terminus's service has no relevant state; a separate instance avoids importing Terminus's module.
const indicators = new HealthIndicatorService();

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
