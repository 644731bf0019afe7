import { Inject, Injectable } from '@nestjs/common';
import { HealthIndicatorService, type HealthIndicatorResult } from '@nestjs/terminus';
import * as v from 'valibot';
import type { InternalGrpcClient } from '../client/create-client.js';
import { clientKeys, ClientRegistry } from '../nest/client-registry.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { flag, object } from '../policy/options/option-schemas.js';

export interface ChannelCheckOptions {
  /** Name in the result. @defaultValue the client's name; for a symbol, its description */
  readonly key?: string | undefined;
  /** True if a client that is down is reported as down; if false, it is reported as degraded. @defaultValue true */
  readonly required?: boolean | undefined;
}

export interface ChannelCheckAllOptions {
  /** Names of the clients to skip. @defaultValue none */
  readonly except?: readonly (string | symbol)[] | undefined;
}

/**
 * Reports the health of clients from the state of their channels. Makes no calls, opens no connections, and wakes no idle channel. An idle
 * channel is up. During an outage, a channel is degraded until the grace period ends, and then down. A channel that has been connecting for
 * longer than the grace period is degraded even without an outage if calls are waiting or have failed. A draining or closed client is down.
 */
@Injectable()
export class GrpcChannelHealthIndicator {
  /** @internal Created by Nest. */
  constructor(@Inject(ClientRegistry) private readonly clients: ClientRegistry) {}

  /**
   * Returns the health of one client, under `key` or its name.
   *
   * @throws Error if no client has this name, GrpcConfigurationError if the options are invalid
   */
  async check<const N extends string | symbol, const K extends string = N extends string ? N : string>(
    client: N,
    options: ChannelCheckOptions & { readonly key?: K | undefined } = {},
  ): Promise<HealthIndicatorResult<K>> {
    const { key, required } = requireOptions(checkSchema, options, 'GrpcChannelHealthIndicator.check');
    const inner = this.clients.get(client);
    return this.result(inner, key ?? inner.name, required);
  }

  /**
   * Returns the health of all clients, each under its name. If clients have the same name, such as symbols with the same
   * description, a number follows the name of the second and later ones, as in the dashboard: 'db (2)'.
   *
   * @throws Error if `except` contains an unknown name, GrpcConfigurationError if the options are invalid
   */
  async checkAll(options: ChannelCheckAllOptions = {}): Promise<HealthIndicatorResult> {
    const { except: names } = requireOptions(checkAllSchema, options, 'GrpcChannelHealthIndicator.checkAll');
    const except = new Set(names.map((name) => this.clients.get(name)));
    const all = [...this.clients];
    const keys = clientKeys(all);
    const results = all
      .filter((client) => !except.has(client))
      .map((client) => this.result(client, keys.get(client) ?? client.name, true));
    return Object.assign({}, ...results) as HealthIndicatorResult;
  }

  private result(client: InternalGrpcClient, key: string, required: boolean): HealthIndicatorResult {
    const health = channelHealth(client, this.clients.accepting);
    return healthResult(key, health.status === 'down' && !required ? { ...health, status: 'degraded' } : health);
  }
}

export const keyOption = v.optional(v.pipe(v.string(), v.nonEmpty()));
const checkSchema = object({ key: keyOption, required: v.optional(flag, true) });
const checkAllSchema = object({ except: v.optional(v.array(v.union([v.string(), v.symbol()])), []) });

export interface ChannelHealth {
  readonly status: 'up' | 'degraded' | 'down';
  readonly details: Readonly<Record<string, unknown>>;
}

/**
 * Returns the health of a channel. READY and IDLE are up. During an outage, the channel is degraded until the grace period ends, and then
 * down. A draining or closed client is down. CONNECTING without an outage is up, but degraded if it lasts longer than the grace period
 * while calls are waiting or have failed, and so is a channel whose connections receive nothing for 10 s while calls wait for an answer. An
 * attempt to connect that receives no response starts an outage only when it fails.
 *
 * @param applicationAccepts true until the application starts to shut down
 */
export function channelHealth(client: InternalGrpcClient, applicationAccepts: boolean): ChannelHealth {
  const { target, connectivity, accepting } = client;
  // Behind a proxy, the channel may be READY while every call fails. These counts show such failures.
  const { windowMs, ended, failed } = client.recentCalls();
  const { state, since, lastError, lastFailure, outage, silence } = connectivity;
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
    if (silence !== undefined) {
      const { since: silentSince, calls } = silence;
      const waiting = calls === 1 ? '1 call waits' : `${String(calls)} calls wait`;
      const message = `connected, but nothing was received since ${silentSince.toISOString()}; ${waiting} for an answer`;
      return { status: 'degraded', details: { ...details, message } };
    }
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
