import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import type { InnerClient } from '../client/inner-client.js';
import { ClientRegistry } from '../nest/client-registry.js';
import { systemClock } from '../time/clock.js';
import { channelHealth } from './channel-health.js';
import { assertOptions } from './check-options.js';
import { healthResult } from './health-results.js';

/** Options of one check. */
export interface ChannelCheckOptions {
  /** Name in the result. @defaultValue the client's */
  readonly key?: string | undefined;
  /** false: trouble is reported as degraded, never as down. @defaultValue true */
  readonly required?: boolean | undefined;
}

/** Which clients `checkAll` asks. */
export interface ChannelCheckAllOptions {
  /** Names of the clients that are asked. @defaultValue all */
  readonly only?: readonly string[] | undefined;
  /** Names of clients that are not asked. @defaultValue none */
  readonly except?: readonly string[] | undefined;
}

/**
 * Health of clients from the state of the channels they use: no call, no connection of its own, no waking up. An idle channel
 * is up; an outage is degraded while calls wait for its end, then down.
 */
@Injectable()
export class GrpcChannelHealthIndicator {
  /** @internal Made by Nest. */
  constructor(@Inject(ClientRegistry) private readonly clients: ClientRegistry) {}

  /**
   * Health of one client.
   *
   * @throws Error when there is no client of that name, GrpcConfigurationError for options that are none
   */
  async check<const N extends string>(client: N, options: ChannelCheckOptions = {}): Promise<HealthIndicatorResult<N>> {
    assertOptions('GrpcChannelHealthIndicator.check', options);
    return this.result(this.clients.get(client), options.key ?? client, options.required ?? true);
  }

  /**
   * Health of all clients, or of some, each under its name.
   *
   * @throws Error when `only` or `except` names one that is not there, GrpcConfigurationError for options that are none
   */
  async checkAll(options: ChannelCheckAllOptions = {}): Promise<HealthIndicatorResult> {
    assertOptions('GrpcChannelHealthIndicator.checkAll', options);
    const except = new Set((options.except ?? []).map((name) => this.clients.get(name)));
    const asked = options.only?.map((name) => this.clients.get(name)) ?? [...this.clients];
    const results = asked
      .filter((client) => !except.has(client))
      .map((client) => this.result(client, client.name, true));
    return Object.assign({}, ...results) as HealthIndicatorResult;
  }

  private result(client: InnerClient, key: string, required: boolean): HealthIndicatorResult {
    const health = channelHealth(client, this.clients.accepting, systemClock.epoch());
    return healthResult(key, health.status === 'down' && !required ? { ...health, status: 'degraded' } : health);
  }
}
