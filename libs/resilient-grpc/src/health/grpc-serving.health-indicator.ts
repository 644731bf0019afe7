import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { firstValueFrom } from 'rxjs';
import * as v from 'valibot';
import type { InternalGrpcClient } from '../client/create-client.js';
import { isGrpcCallError } from '../errors/grpc-call-error.js';
import { ClientRegistry } from '../nest/client-registry.js';
import { requireOptions } from '../policy/options/option-problems.js';
import { object, positiveMilliseconds } from '../policy/options/option-schemas.js';
import { StatusCode } from '../status/status-code.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { channelHealth, healthResult, keyOption } from './grpc-channel.health-indicator.js';
import {
  CHECK,
  probeOptions,
  servingStatusOf,
  endpointsHealth,
  servingHealth,
  type ServingAnswer,
} from './serving-check.js';

export interface ServingCheckOptions {
  /** Name in the result. @defaultValue the client's name; for a symbol, its description */
  readonly key?: string | undefined;
  /** Full name of the service to check, such as 'orders.v1.Orders'; '' checks the server as a whole. @defaultValue '' */
  readonly service?: string | undefined;
  /**
   * Maximum time in milliseconds, more than 0, to wait for the server's response. If no response arrives in time, the server is reported as
   * down. Set this limit below the timeout of the probe.
   * @defaultValue 1000
   */
  readonly timeoutMs?: number | undefined;
}

const DEFAULT_SERVING_CHECK = { service: '', timeoutMs: 1_000 } as const;

const schema = object({
  key: keyOption,
  service: v.optional(v.string(), DEFAULT_SERVING_CHECK.service),
  timeoutMs: v.optional(positiveMilliseconds, DEFAULT_SERVING_CHECK.timeoutMs),
});

/**
 * Reports whether a client's server is serving. Calls the standard health service grpc.health.v1 over the client's own channel. If the
 * channel is not up, no call is made, and the result is that of {@link GrpcChannelHealthIndicator}. If the client watches the health of
 * this service on each connection (`healthCheckConfig`) and the channel has endpoints, no call is made, either. The result then lists the
 * endpoints, and a READY channel is reported as up while at least half of the endpoints with known health are serving.
 */
@Injectable()
export class GrpcServingHealthIndicator {
  private readonly pendingChecks = new WeakMap<InternalGrpcClient, Map<string, Promise<ServingAnswer | undefined>>>();
  private readonly loggedUnimplemented = new WeakSet<InternalGrpcClient>();

  /** @internal Created by Nest. */
  constructor(@Inject(ClientRegistry) private readonly clients: ClientRegistry) {}

  /**
   * Returns the health of one client's server, under `key` or the client's name.
   *
   * @throws Error if no client has this name; GrpcConfigurationError if the options are invalid
   */
  async check<const N extends string | symbol, const K extends string = N extends string ? N : string>(
    client: N,
    options: ServingCheckOptions & { readonly key?: K | undefined } = {},
  ): Promise<HealthIndicatorResult<K>> {
    const parsed = requireOptions(schema, options, 'GrpcServingHealthIndicator.check');
    const { service, timeoutMs } = parsed;
    const inner = this.clients.get(client);
    const key = parsed.key ?? inner.name;
    const { endpointHealth } = inner;
    if (endpointHealth?.service === service) {
      const health = endpointsHealth(this.channel(inner), service, endpointHealth.endpoints);
      return healthResult(key, health);
    }
    const isUp = this.channel(inner).status === 'up';
    const answer = isUp ? await this.callOnce(inner, service, timeoutMs) : undefined;
    // Read again, because the connection may have been lost during the check, and the new state applies to later calls.
    const channel = this.channel(inner);
    if (answer?.kind === 'unimplemented') this.logUnimplemented(inner);
    const health = answer === undefined || channel.status !== 'up' ? channel : servingHealth(channel, service, answer);
    return healthResult(key, health);
  }

  private channel(client: InternalGrpcClient) {
    return channelHealth(client, this.clients.accepting);
  }

  /** Makes one `Check` call, which concurrent checks with the same service and timeout share. */
  private callOnce(client: InternalGrpcClient, service: string, timeoutMs: number): Promise<ServingAnswer | undefined> {
    const running = this.pendingChecks.get(client) ?? new Map<string, Promise<ServingAnswer | undefined>>();
    this.pendingChecks.set(client, running);
    const key = `${service} ${String(timeoutMs)}`;
    const answer = running.get(key) ?? callCheck(client, service, timeoutMs).finally(() => running.delete(key));
    running.set(key, answer);
    return answer;
  }

  private logUnimplemented(client: InternalGrpcClient): void {
    if (this.loggedUnimplemented.has(client)) return;
    this.loggedUnimplemented.add(client);
    const { name, target } = client;
    const text = `${target} does not implement grpc.health.v1.Health and counts as serving; implement this service, or check only the channel`;
    const fields = { client: name, event: 'no-health-service', target };
    new LibraryLogger(`ResilientGrpc:${name}`).write('warn', text, fields);
  }
}

/** Makes one `Check` call, without retries (except transparent retries) and without waiting for the end of an outage. */
async function callCheck(
  client: InternalGrpcClient,
  service: string,
  timeoutMs: number,
): Promise<ServingAnswer | undefined> {
  try {
    const response = await firstValueFrom(client.stubOf(CHECK)({ service }, probeOptions(timeoutMs)));
    return { kind: 'status', status: servingStatusOf(response) };
  } catch (error) {
    if (!isGrpcCallError(error)) throw error;
    const { code, reason, reachedServer } = error;
    if (reason === 'deadline') return { kind: 'unanswered', afterMs: timeoutMs };
    if (reason === 'connection-lost' || reason === 'refused') return { kind: reason };
    if (reason === 'http') return { kind: 'http', details: error.details };
    // The call was never sent, so the state of the channel is the result.
    if (reason === 'outage') return undefined;
    if (code === StatusCode.UNIMPLEMENTED && reachedServer === 'yes') return { kind: 'unimplemented' };
    if (code === StatusCode.NOT_FOUND && reachedServer === 'yes') return { kind: 'status', status: 'SERVICE_UNKNOWN' };
    return { kind: 'failed', code };
  }
}
