import { Inject, Injectable, type BeforeApplicationShutdown } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { firstValueFrom } from 'rxjs';
import type { InnerClient } from '../client/inner-client.js';
import { isGrpcCallError } from '../errors/grpc-call-error.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { ClientRegistry } from '../nest/client-registry.js';
import { StatusCode } from '../status/status-code.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { LogLine } from '../telemetry/log/log-line.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { channelHealth } from './channel-health.js';
import { assertOptions } from './check-options.js';
import { CHECK, servingStatusOf } from './health-service.js';
import { healthResult } from './health-results.js';
import { servingHealth, type ServingAnswer } from './serving-health.js';
import { ServingWatch } from './serving-watch.js';

/** Options of one check. */
export interface ServingCheckOptions {
  /** Name in the result. @defaultValue the client's */
  readonly key?: string | undefined;
  /** Full name of the service that is asked for, as 'orders.v1.Orders'; '': the server as a whole. @defaultValue '' */
  readonly service?: string | undefined;
  /**
   * How long the server may take to answer, in milliseconds, more than 0; then it is down. Less than the timeout of the probe that
   * asks. In mode 'watch' it is how long the first answer on a connection is waited for.
   * @defaultValue 1000
   */
  readonly timeoutMs?: number | undefined;
  /**
   * 'check': one call of `Check` each time, which wakes an idle channel. 'watch': one `Watch`, begun by the first check and kept until
   * the application shuts down, so that a check costs nothing; it wakes no channel, and keeps none from going idle.
   * @defaultValue 'check'
   */
  readonly mode?: 'check' | 'watch' | undefined;
}

/** What holds where options say nothing. */
const DEFAULT_SERVING_CHECK = Object.freeze({ service: '', timeoutMs: 1_000, mode: 'check' });

/**
 * Whether the server of a client serves, by the standard health service grpc.health.v1, asked over the client's own channel. Where the
 * channel is not up nobody is asked, and the result is that of {@link GrpcChannelHealthIndicator}.
 */
@Injectable()
export class GrpcServingHealthIndicator implements BeforeApplicationShutdown {
  private readonly watches = new Map<InnerClient, Map<string, ServingWatch>>();
  private readonly asking = new WeakMap<InnerClient, Map<string, Promise<ServingAnswer | undefined>>>();
  private readonly told = new WeakSet<InnerClient>();
  private draining = false;

  /** @internal Made by Nest. */
  constructor(@Inject(ClientRegistry) private readonly clients: ClientRegistry) {}

  /**
   * Health of one client's server.
   *
   * @throws Error when there is no client of that name, GrpcConfigurationError for options that are none
   */
  async check<const N extends string>(client: N, options: ServingCheckOptions = {}): Promise<HealthIndicatorResult<N>> {
    assertOptions('GrpcServingHealthIndicator.check', options);
    const service = options.service ?? DEFAULT_SERVING_CHECK.service;
    const timeoutMs = options.timeoutMs ?? DEFAULT_SERVING_CHECK.timeoutMs;
    const inner = this.clients.get(client);
    const isWatch = (options.mode ?? DEFAULT_SERVING_CHECK.mode) === 'watch';
    if (isWatch && !inner.seesConnections) throw notWatchable(inner);
    const answer =
      this.channel(inner).status !== 'up'
        ? undefined
        : isWatch
          ? await this.watch(inner, service, timeoutMs)
          : await this.askOnce(inner, service, timeoutMs);
    // As it is now: it may have been lost meanwhile, and that is what calls will meet.
    const channel = this.channel(inner);
    if (answer?.kind === 'unimplemented') this.tellUnimplemented(inner);
    const health = answer === undefined || channel.status !== 'up' ? channel : servingHealth(channel, service, answer);
    return healthResult<string>(options.key ?? client, health);
  }

  /** With the streams of the clients: a server that shuts down waits for every Watch. */
  beforeApplicationShutdown(): void {
    this.draining = true;
    for (const watches of this.watches.values()) for (const watch of watches.values()) watch.close();
    this.watches.clear();
  }

  private channel(client: InnerClient) {
    return channelHealth(client, this.clients.accepting, systemClock.epoch());
  }

  private async watch(client: InnerClient, service: string, timeoutMs: number): Promise<ServingAnswer | undefined> {
    if (this.draining) return undefined;
    let watches = this.watches.get(client);
    if (watches === undefined) {
      watches = new Map();
      this.watches.set(client, watches);
      client.connectivity$.subscribe({ complete: () => this.watches.delete(client) });
    }
    let watch = watches.get(service);
    if (watch === undefined) {
      watch = new ServingWatch(client, service, { clock: systemClock, random: systemRandom });
      watches.set(service, watch);
    }
    return watch.ask(timeoutMs);
  }

  /** Probes that ask at once share one call. */
  private askOnce(client: InnerClient, service: string, timeoutMs: number): Promise<ServingAnswer | undefined> {
    const running = this.asking.get(client) ?? new Map<string, Promise<ServingAnswer | undefined>>();
    this.asking.set(client, running);
    const key = `${service} ${String(timeoutMs)}`;
    let answer = running.get(key);
    if (answer === undefined) {
      answer = ask(client, service, timeoutMs).finally(() => running.delete(key));
      running.set(key, answer);
    }
    return answer;
  }

  private tellUnimplemented(client: InnerClient): void {
    if (this.told.has(client)) return;
    this.told.add(client);
    const { name, target } = client;
    const text = `${target} has no grpc.health.v1.Health, and is taken for serving; serve it there, or check the channel alone`;
    const line = new LogLine('warn', text, { client: name, event: 'no-health-service', target });
    new LibraryLogger(`ResilientGrpc:${name}`).warn(line);
  }
}

/** One call, never repeated, that waits for no outage to end. */
async function ask(client: InnerClient, service: string, timeoutMs: number): Promise<ServingAnswer | undefined> {
  const check = client.stubOf(CHECK);
  try {
    const response = await firstValueFrom(
      // Who asks for health may be served by this process, and its deadline is not that of the answer.
      check({ service }, { timeoutMs, retry: false, waitForReady: false, propagate: false }),
    );
    return { kind: 'status', status: servingStatusOf(response) };
  } catch (error) {
    if (!isGrpcCallError(error)) throw error;
    const { code, reason, reachedServer } = error;
    if (reason === 'deadline') return { kind: 'unanswered', afterMs: timeoutMs };
    if (reason === 'connection-lost' || reason === 'refused') return { kind: reason };
    // It was never sent, and what the channel says is all there is to say.
    if (reason === 'outage') return undefined;
    if (code === StatusCode.UNIMPLEMENTED && reachedServer === 'yes') return { kind: 'unimplemented' };
    // In the words of Watch, which has no other.
    if (code === StatusCode.NOT_FOUND && reachedServer === 'yes') return { kind: 'status', status: 'SERVICE_UNKNOWN' };
    return { kind: 'failed', method: 'Check', code };
  }
}

function notWatchable({ name, target }: InnerClient): GrpcConfigurationError {
  const message = `expected 'check' for '${name}', got 'watch': the connections to ${target} are not seen one by one, as under xds:, where the control plane knows of health; write mode: 'check'`;
  return new GrpcConfigurationError([{ path: 'GrpcServingHealthIndicator.check.mode', message }]);
}
