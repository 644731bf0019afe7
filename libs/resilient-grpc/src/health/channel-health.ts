import type { InnerClient } from '../client/inner-client.js';

/** Health of a channel as its state tells it. */
export interface ChannelHealth {
  readonly status: 'up' | 'degraded' | 'down';
  /** What a report shows beside the status. */
  readonly details: Readonly<Record<string, unknown>>;
}

/** What of a client tells its health. */
export type ClientState = Pick<
  InnerClient,
  'target' | 'connectivity' | 'accepting' | 'recentCalls' | 'waitingCalls' | 'outageGraceMs'
>;

/**
 * READY and IDLE are up; an outage is degraded inside its grace, and down beyond it; draining and closed are down. A channel
 * that connects for the first time is up, and degraded where that takes longer than a grace while calls wait or have failed: an outage
 * begins with the first attempt that has failed, which may take a while.
 *
 * @param applicationAccepts false from the beginning of the application's shutdown on
 * @param epochNow milliseconds since 1970
 */
export function channelHealth(client: ClientState, applicationAccepts: boolean, epochNow: number): ChannelHealth {
  const { target, connectivity, accepting } = client;
  // Behind a proxy the channel is READY while everything fails: this tells.
  const { windowMs, ended, failed } = client.recentCalls();
  const { state, since, lastError, outage } = connectivity;
  // Without a moment of its own it would read as trouble of now.
  const isWell = outage === undefined && (state === 'READY' || state === 'IDLE');
  const details = {
    state,
    target,
    since: since.toISOString(),
    ...(lastError === undefined || isWell ? {} : { lastError }),
    calls: { windowMs: Math.round(windowMs), ended, failed },
  };
  if (state === 'SHUTDOWN') return { status: 'down', details: { ...details, message: 'closed' } };
  if (!accepting || !applicationAccepts) return { status: 'down', details: { ...details, message: 'draining' } };
  if (outage === undefined) {
    const isLate = state === 'CONNECTING' && epochNow - since.getTime() > client.outageGraceMs;
    if (!isLate || (client.waitingCalls === 0 && failed === 0)) return { status: 'up', details };
    return { status: 'degraded', details: { ...details, message: 'not connected yet; calls wait' } };
  }

  const told = {
    ...details,
    outage: {
      since: outage.since.toISOString(),
      graceEndsAt: outage.graceEndsAt.toISOString(),
      attempts: outage.attempts,
      flapping: outage.flapping,
      ...(outage.nextAttemptAt === undefined ? {} : { nextAttemptAt: outage.nextAttemptAt.toISOString() }),
    },
  };
  return outage.graceEndsAt.getTime() > epochNow
    ? { status: 'degraded', details: { ...told, message: 'outage; calls wait' } }
    : { status: 'down', details: { ...told, message: 'outage; calls fail' } };
}
