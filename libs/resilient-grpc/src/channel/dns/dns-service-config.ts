import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { Observable } from 'rxjs';
import { chooseServiceConfig, type ChoosingClient } from '../../policy/service-config/choose-service-config.js';
import type { Problem } from '../../policy/service-config/problem.js';
import type { ServiceConfig } from '../../policy/service-config/service-config.js';
import { jitter, type Random } from '../../time/random.js';
import type { Clock, Timer } from '../../time/clock.js';
import { dnsNameOf } from './dns-name.js';
import { DNS_QUERY, serviceConfigName, serviceConfigRecord } from './service-config-record.js';

/** Options of `dnsServiceConfig()`. */
export interface DnsServiceConfigOptions {
  /** Between two looks at the record, in milliseconds, 1000 or more; ±10 %. Node does not tell how long a TXT record lives. @defaultValue 60000 */
  readonly refreshMs?: number | undefined;
  /** Name servers, 'ip' or 'ip:port'. @defaultValue the target's authority (dns://8.8.8.8/orders:50051), or the system's */
  readonly servers?: readonly string[] | undefined;
}

/** What a source that must know its target is given by the client that uses it. */
export interface TargetSeams {
  readonly target: string;
  /** Where the source stands, for problems: 'clients.orders.serviceConfig'. */
  readonly path: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Something that is no fault of the configuration, and passes. */
  readonly report: (message: string) => void;
}

/** A service config, and where it was found, for its problems. */
export class LocatedServiceConfig {
  constructor(
    readonly value: unknown,
    readonly path: string,
  ) {}
}

/** A record that holds no service config, or options of its source that are invalid. */
export class UnreadableServiceConfig {
  constructor(
    readonly problems: readonly Problem[],
    /** True for a record, which can change while the client lives: the client starts without it. */
    readonly isRecord: boolean,
  ) {}
}

/** Marks a source of service configs that must be told its target: `source[FOR_TARGET](seams)` gives the source itself. */
export const FOR_TARGET = Symbol('source of service configs for a target');

/** A source of service configs that only a client can subscribe to. */
export interface TargetServiceConfigSource extends Observable<ServiceConfig> {
  [FOR_TARGET](seams: TargetSeams): Observable<unknown>;
}

/** Whether `source` must be told its target. */
export function needsTarget(source: Observable<unknown>): source is TargetServiceConfigSource {
  return FOR_TARGET in source;
}

/** Between two looks at the record. */
const DEFAULT_DNS_REFRESH_MS = 60_000;
const LEAST_REFRESH_MS = 1_000;
const REFRESH_JITTER = 0.1;
// A name server that does not answer is asked again by gRPC's backoff, and no later than when all is well.
const FIRST_RETRY_MS = 1_000;
const RETRY_MULTIPLIER = 1.6;
const RETRY_JITTER = 0.2;
// What no record says.
const NO_CHOICES = '[]';

/**
 * The standard TXT record `_grpc_config.<name>` of the target, with its choice rules (gRFC A2), read again each `refreshMs`.
 * No record is an empty service config. An invalid record, and a name server that does not answer, are logged and change nothing: a
 * client that starts then starts without a service config. Give it as `serviceConfig` of a client, which knows the target.
 */
export function dnsServiceConfig(options: DnsServiceConfigOptions = {}): Observable<ServiceConfig> {
  const source = new Observable<ServiceConfig>((subscriber) => {
    subscriber.error(
      new TypeError('dnsServiceConfig() has no target of its own; give it as `serviceConfig` of a client'),
    );
  });
  const forTarget = (seams: TargetSeams): Observable<unknown> =>
    new Observable((subscriber) => {
      const reading = new TxtReading(options, seams, (found) => {
        subscriber.next(found);
      });
      return () => {
        reading.close();
      };
    });
  return Object.assign(source, { [FOR_TARGET]: forTarget });
}

/** Reads the record of one target until it is closed. */
class TxtReading {
  readonly #resolver = new Resolver(DNS_QUERY);
  readonly #client: ChoosingClient;
  readonly #refreshMs: number;
  readonly #name: string = '';
  #timer: Timer | undefined;
  #closed = false;
  #failures = 0;
  #last: string | undefined;

  constructor(
    { refreshMs = DEFAULT_DNS_REFRESH_MS, servers }: DnsServiceConfigOptions,
    private readonly seams: TargetSeams,
    private readonly found: (serviceConfig: unknown) => void,
  ) {
    const { target, path, random } = seams;
    this.#refreshMs = refreshMs;
    this.#client = { hostname: hostname(), percentile: random() * 100 };
    const problems: Problem[] = [];
    const name = dnsNameOf(target);
    if (name === undefined || isIP(name.host) !== 0) {
      const message = `expected a target with a name in DNS for dnsServiceConfig(), got '${target}'; write the service config itself`;
      problems.push({ path, message });
    } else {
      this.#name = serviceConfigName(name.host);
    }
    if (!(refreshMs >= LEAST_REFRESH_MS && refreshMs < Infinity)) {
      problems.push({
        path,
        message: `expected dnsServiceConfig({ refreshMs }) of ${LEAST_REFRESH_MS} or more, got ${refreshMs}`,
      });
    }
    const asked = servers ?? (name?.authority === undefined ? [] : [name.authority]);
    try {
      if (asked.length > 0) this.#resolver.setServers(asked);
    } catch {
      const message = `expected name servers of dnsServiceConfig() as 'ip' or 'ip:port', got ${JSON.stringify(asked)}`;
      problems.push({ path, message });
    }
    if (problems.length > 0) found(new UnreadableServiceConfig(problems, false));
    else void this.#read();
  }

  close(): void {
    this.#closed = true;
    if (this.#timer !== undefined) this.seams.clock.clearTimer(this.#timer);
    this.#resolver.cancel();
  }

  async #read(): Promise<void> {
    let nextInMs = jitter(this.#refreshMs, REFRESH_JITTER, this.seams.random);
    try {
      this.#take((await serviceConfigRecord(this.#resolver, this.#name)) ?? NO_CHOICES);
    } catch (error) {
      nextInMs = this.#retryMs();
      this.#lookupFailed(error);
    }
    // Read here, as whoever takes a service config may have left meanwhile.
    if (!this.#closed) this.#timer = this.seams.clock.setTimer(() => void this.#read(), nextInMs);
  }

  #take(text: string): void {
    this.#failures = 0;
    if (this.#closed || text === this.#last) return;
    this.#last = text;
    const choice = chooseServiceConfig(text, `${this.seams.path} (TXT of ${this.#name})`, this.#client);
    if (choice.ok) this.found(new LocatedServiceConfig(choice.serviceConfig ?? {}, choice.path));
    else this.found(new UnreadableServiceConfig(choice.problems, true));
  }

  #lookupFailed(error: unknown): void {
    this.#failures += 1;
    // Told once, until there was an answer in between.
    if (this.#closed || this.#failures > 1) return;
    const why = error instanceof Error ? error.message : String(error);
    this.seams.report(`${this.#name}: ${why}; what was known of it stays in force, and it is asked for again`);
  }

  #retryMs(): number {
    const grown = FIRST_RETRY_MS * RETRY_MULTIPLIER ** this.#failures;
    return jitter(Math.min(grown, this.#refreshMs), RETRY_JITTER, this.seams.random);
  }
}
