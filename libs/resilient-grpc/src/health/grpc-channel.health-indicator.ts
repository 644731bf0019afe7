import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import type { InternalGrpcClient } from '../client/create-client.js';
import { clientKeys, ClientRegistry } from '../nest/client-registry.js';
import { channelHealth, healthResult, assertOptions } from './channel-health.js';

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
    assertOptions('GrpcChannelHealthIndicator.check', options);
    const inner = this.clients.get(client);
    return this.result(inner, options.key ?? inner.name, options.required ?? true);
  }

  /**
   * Returns the health of all clients, each under its name. If clients have the same name, such as symbols with the same
   * description, a number follows the name of the second and later ones, as in the dashboard: 'db (2)'.
   *
   * @throws Error if `except` contains an unknown name, GrpcConfigurationError if the options are invalid
   */
  async checkAll(options: ChannelCheckAllOptions = {}): Promise<HealthIndicatorResult> {
    assertOptions('GrpcChannelHealthIndicator.checkAll', options);
    const except = new Set((options.except ?? []).map((name) => this.clients.get(name)));
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
