import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { Observable } from 'rxjs';
import { errorMessage } from '../../errors/error-message.js';
import {
  chooseServiceConfig,
  type ChoosingClient,
  serviceConfigAttribute,
} from '../../policy/service-config/choose-service-config.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import type { ServiceConfig } from '../../policy/service-config/service-config.js';
import { jitter, type Random } from '../../time/random.js';
import type { Clock, Timer } from '../../time/clock.js';
import { dnsNameOf } from './dns-refresh.js';

export interface DnsServiceConfigOptions {
  /**
   * Interval in milliseconds between two reads of the record: 1000 or more, with ±10% jitter. Node does not expose the TTL of a TXT record.
   * @defaultValue 60000
   */
  readonly refreshMs?: number | undefined;
}

export interface TargetDependencies {
  readonly target: string;
  /** Path of the option with the source, for error messages: 'clients.orders.serviceConfig'. */
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Reports a temporary problem that the configuration did not cause. */
  readonly report: (message: string) => void;
}

export class LocatedServiceConfig {
  constructor(
    readonly value: unknown,
    readonly path: string,
  ) {}
}

/** Result if `dnsServiceConfig()` cannot provide a service config, because the record, the options, or the target is invalid. */
export class UnreadableServiceConfig {
  constructor(
    readonly problems: readonly ConfigurationProblem[],
    /**
     * True if the record is invalid; false if the options or the target are invalid. An invalid record does not prevent the client from
     * starting, because the record can change later.
     */
    readonly isRecord: boolean,
  ) {}
}

/** Key of a method that binds a source of service configs to a target: `source[FOR_TARGET](dependencies)` returns the bound source. */
export const FOR_TARGET = Symbol('source of service configs for a target');

/** A source of service configs that only a client can subscribe to. */
export interface TargetServiceConfigSource extends Observable<ServiceConfig> {
  [FOR_TARGET](dependencies: TargetDependencies): Observable<unknown>;
}

export function needsTarget(source: Observable<unknown>): source is TargetServiceConfigSource {
  return FOR_TARGET in source;
}

const DEFAULT_DNS_REFRESH_MS = 60_000;
const MIN_REFRESH_MS = 1_000;
const REFRESH_JITTER = 0.1;
// Delay in milliseconds before the first retry of a failed query. Later delays grow like gRPC's backoff, up to the regular interval.
const FIRST_RETRY_MS = 1_000;
const RETRY_MULTIPLIER = 1.6;
const RETRY_JITTER = 0.2;
// Replaces a missing record: an empty list of choices.
const NO_CHOICES = '[]';

/**
 * Reads the service config every `refreshMs` from the standard TXT record `_grpc_config.<name>` of the target, and applies the record's
 * choice rules (gRFC A2). A missing record counts as an empty service config. An invalid record or a failed lookup is logged, and the
 * current service config stays in effect. If the first read fails in one of these ways, the client starts without a service config. Invalid
 * options, or a target without a DNS name, make startup fail. Pass the result as `serviceConfig` of a client, which provides the target.
 */
export function dnsServiceConfig({
  refreshMs = DEFAULT_DNS_REFRESH_MS,
}: DnsServiceConfigOptions = {}): Observable<ServiceConfig> {
  const source = new Observable<ServiceConfig>((subscriber) => {
    subscriber.error(
      new TypeError(
        'dnsServiceConfig(): expected a client to subscribe, got a direct subscription; pass the Observable as `serviceConfig` of a client',
      ),
    );
  });
  const forTarget = (dependencies: TargetDependencies): Observable<unknown> =>
    new Observable((subscriber) => {
      const reading = new TxtReading(refreshMs, dependencies, (found) => {
        subscriber.next(found);
      });
      return () => {
        reading.close();
      };
    });
  return Object.assign(source, { [FOR_TARGET]: forTarget });
}

class TxtReading {
  private readonly resolver = new Resolver(DNS_QUERY);
  private readonly client: ChoosingClient;
  private readonly name: string = '';
  private timer: Timer | undefined;
  private closed = false;
  private failures = 0;
  private last: string | undefined;

  constructor(
    private readonly refreshMs: number,
    private readonly dependencies: TargetDependencies,
    private readonly found: (serviceConfig: unknown) => void,
  ) {
    const { target, path, random } = dependencies;
    this.client = { hostname: hostname(), percentile: random() * 100 };
    const problems: ConfigurationProblem[] = [];
    const name = dnsNameOf(target);
    if (name === undefined || isIP(name.host) !== 0) {
      const message = `expected a target with a DNS name for dnsServiceConfig(), got '${target}'; write the service config directly`;
      problems.push({ path, message });
    } else {
      // gRFC A2.
      this.name = `_grpc_config.${name.host}`;
    }
    if (!(refreshMs >= MIN_REFRESH_MS && refreshMs < Infinity)) {
      const message = `expected a finite refreshMs of ${MIN_REFRESH_MS} or more for dnsServiceConfig(), got ${refreshMs}`;
      problems.push({ path, message });
    }
    // The client has validated the authority of its target.
    if (name?.authority !== undefined) this.resolver.setServers([name.authority]);
    if (problems.length > 0) found(new UnreadableServiceConfig(problems, false));
    else void this.read();
  }

  close(): void {
    this.closed = true;
    this.timer?.clear();
    this.resolver.cancel();
  }

  private async read(): Promise<void> {
    let nextInMs = jitter(this.refreshMs, REFRESH_JITTER, this.dependencies.random);
    try {
      this.take((await serviceConfigRecord(this.resolver, this.name)) ?? NO_CHOICES);
    } catch (error) {
      nextInMs = this.retryMs();
      this.lookupFailed(error);
    }
    // The subscriber may have unsubscribed during the query.
    if (!this.closed) this.timer = this.dependencies.clock.setTimer(() => void this.read(), nextInMs);
  }

  private take(text: string): void {
    this.failures = 0;
    if (this.closed || text === this.last) return;
    this.last = text;
    const choice = chooseServiceConfig(text, `${this.dependencies.path} (TXT of ${this.name})`, this.client);
    if (choice.ok) this.found(new LocatedServiceConfig(choice.serviceConfig ?? {}, choice.path));
    else this.found(new UnreadableServiceConfig(choice.problems, true));
  }

  private lookupFailed(error: unknown): void {
    this.failures += 1;
    // Only the first of consecutive failures is reported.
    if (this.closed || this.failures > 1) return;
    this.dependencies.report(
      `${this.name}: DNS lookup failed (${errorMessage(error)}); the current service config stays in effect, and the lookup is retried`,
    );
  }

  private retryMs(): number {
    const grown = FIRST_RETRY_MS * RETRY_MULTIPLIER ** this.failures;
    return jitter(Math.min(grown, this.refreshMs), RETRY_JITTER, this.dependencies.random);
  }
}

/**
 * Limits of a query: the timeout in milliseconds, and the number of tries. With Node's defaults, which include four tries, an unresponsive
 * name server could delay the start of a client by half a minute or more.
 */
const DNS_QUERY = { timeout: 1_000, tries: 2 };

/**
 * Reads the service config choices from a TXT record; returns `undefined` if there is no such record or no such name.
 *
 * @throws the resolver's error for any other failure, such as a name server that does not respond
 */
async function serviceConfigRecord(resolver: Resolver, name: string): Promise<string | undefined> {
  try {
    return serviceConfigAttribute(await resolver.resolveTxt(name));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOTFOUND' || code === 'ENODATA') return undefined;
    throw error;
  }
}
