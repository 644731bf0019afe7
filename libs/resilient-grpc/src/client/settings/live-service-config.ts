import type { Observable, Subscription } from 'rxjs';
import {
  FOR_TARGET,
  LocatedServiceConfig,
  UnreadableServiceConfig,
  needsTarget,
} from '../../channel/dns/dns-service-config.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { parseServiceConfig } from '../../policy/service-config/parse-service-config.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import { RepeatLimit } from '../../telemetry/log/repeat-limit.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { unreadable } from './copy-options.js';
import type { ResolvedMethodPolicy } from './resolved-settings.js';

/** What a live service config is made from. */
export interface LiveServiceConfigInput {
  /** As the user gave it: what it emits is not trusted. */
  readonly source: Observable<unknown>;
  /** Where it stands: 'clients.orders.serviceConfig'. */
  readonly path: string;
  readonly target: string;
  readonly maxAttemptsLimit: number;
  /** What else must hold of a service config: load balancing that grpc-js can use. */
  readonly check: (config: ParsedServiceConfig) => readonly ConfigurationProblem[];
  /** Policy of each method, by path, under a service config or without one. */
  readonly policies: (config: ParsedServiceConfig | undefined) => ReadonlyMap<string, ResolvedMethodPolicy>;
  readonly clock: Clock;
  readonly random: Random;
  /** What is wrong with an update, which is not taken. */
  readonly warn: (message: string) => void;
}

/** How long a start waits for the first service config. */
const FIRST_SERVICE_CONFIG_WITHIN_MS = 5_000;
const LOG_INTERVAL_MS = 60_000;

/**
 * A service config that changes while its client lives. What it emits is validated as a whole; what does not hold is told, and the
 * one before stays. A call takes its policy when it begins and keeps it.
 *
 * The first one is another matter, as nothing stands behind it: one that is wrong fails the start, and so does a source that fails
 * or ends without any. One that is late does not: who starts in an outage of the place that configs come from would else not start
 * at all. After 5 s the client begins without one, says so, and takes it when it comes. An invalid DNS record does not fail the start
 * either: running processes ignore it, so the next deploy would fail because of a mistake that it did not make.
 */
export class LiveServiceConfig {
  /**
   * Settles when the start need not wait any longer. Handled here already, so that it may be left alone.
   * @throws GrpcConfigurationError (as a rejection) where the start must fail
   */
  readonly first: Promise<void>;
  readonly #input: LiveServiceConfigInput;
  readonly #lines: RepeatLimit<string>;
  readonly #listeners = new Set<(config: ParsedServiceConfig) => void>();
  #config: ParsedServiceConfig | undefined;
  #policies: ReadonlyMap<string, ResolvedMethodPolicy>;
  #subscription: Subscription | undefined;
  #timer: Timer | undefined;
  #started = false;
  /** The start failed. */
  #failed = false;
  #settleFirst: (problems: readonly ConfigurationProblem[]) => void = () => undefined;

  constructor(input: LiveServiceConfigInput) {
    this.#input = input;
    this.#lines = new RepeatLimit(input.clock, LOG_INTERVAL_MS, (latest, count) => {
      input.warn(`${latest} (${String(count)} like it in the last minute)`);
    });
    this.#policies = input.policies(undefined);
    this.first = new Promise((resolve, reject) => {
      this.#settleFirst = (problems) => {
        if (problems.length === 0) resolve();
        else reject(new GrpcConfigurationError(problems));
      };
    });
    this.first.catch(() => undefined);
    // A document that arrived while the start blocked the event loop is read first.
    const late = () => {
      input.clock.defer(this.#late);
    };
    this.#timer = input.clock.setTimer(late, FIRST_SERVICE_CONFIG_WITHIN_MS, true);
    this.#subscribe();
  }

  /** The one in force; undefined: none came yet. */
  get config(): ParsedServiceConfig | undefined {
    return this.#config;
  }

  /** Policy of a method as of now, for a call that begins; undefined: there is no such method. */
  policyOf(path: string): ResolvedMethodPolicy | undefined {
    return this.#policies.get(path);
  }

  /** Hears of each service config that comes into force from now on. Returns how to stop. */
  onChange(listener: (config: ParsedServiceConfig) => void): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  /** Listens no more; what is in force stays. */
  close(): void {
    this.#listeners.clear();
    this.#begin([]);
    this.#subscription?.unsubscribe();
    this.#lines.close();
  }

  #subscribe(): void {
    const { source, target, path, clock, random } = this.#input;
    const report = (message: string): void => {
      this.#warn('lookup', message);
    };
    const subject = needsTarget(source) ? source[FOR_TARGET]({ target, path, clock, random, report }) : source;
    const subscription = subject.subscribe({
      next: (value) => {
        this.#take(value);
      },
      error: (error: unknown) => {
        const why = error instanceof Error ? error.message : String(error);
        this.#ended(`failed: ${oneLine(why)}`);
      },
      complete: () => {
        if (!this.#started) this.#ended('completed without a service config');
      },
    });
    this.#subscription = subscription;
    // What fails the start has nobody left who would close it.
    if (this.#failed) subscription.unsubscribe();
  }

  #take(value: unknown): void {
    try {
      const parsed = this.#parse(value);
      if (!('problems' in parsed)) this.#use(parsed.config);
      else if (!this.#started && isRecord(value)) this.#beginWithout(parsed.problems);
      else this.#refuse(parsed.problems);
    } catch (error) {
      // A getter or a proxy that throws, or a value that JSON does not have. RxJS would rethrow the error, which ends the process.
      this.#refuse([unreadable(this.#input.path, error)]);
    }
  }

  #refuse(problems: readonly ConfigurationProblem[]): void {
    if (this.#started) this.#warn('rejected', `${summaryOf(problems)}; ${OLD_STAYS}`);
    else this.#begin(problems);
  }

  #use(config: ParsedServiceConfig): void {
    if (this.#started) this.#tellOfBalancing(config);
    this.#policies = this.#input.policies(config);
    this.#config = config;
    this.#begin([]);
    for (const listener of [...this.#listeners]) listener(config);
  }

  #parse(
    value: unknown,
  ): { readonly config: ParsedServiceConfig } | { readonly problems: readonly ConfigurationProblem[] } {
    if (value instanceof UnreadableServiceConfig) return value;
    const { path, maxAttemptsLimit, check } = this.#input;
    const parsed =
      value instanceof LocatedServiceConfig
        ? parseServiceConfig(value.value, value.path, { maxAttemptsLimit })
        : parseServiceConfig(value, path, { maxAttemptsLimit });
    if (!parsed.ok) return parsed;
    const problems = check(parsed.config);
    return problems.length > 0 ? { problems } : parsed;
  }

  #ended(how: string): void {
    if (this.#started) this.#warn('ended', `${this.#input.path}: the Observable ${how}; ${OLD_STAYS}`);
    else this.#begin([{ path: this.#input.path, message: `expected a service config, the Observable ${how}` }]);
  }

  readonly #late = (): void => {
    if (this.#started) return;
    const { path, warn } = this.#input;
    const waited = `no service config came within ${FIRST_SERVICE_CONFIG_WITHIN_MS} ms`;
    warn(`${path}: ${waited}; the client begins without one, and takes it when it comes`);
    this.#begin([]);
  };

  /** The client starts without the record, and takes it when it has been corrected. */
  #beginWithout(problems: readonly ConfigurationProblem[]): void {
    const consequence = 'the client starts without a service config: correct the record, which is read again';
    this.#warn('rejected', `${summaryOf(problems)}; ${consequence}`);
    this.#begin([]);
  }

  /** The start goes on, or fails with `problems`; from here on what comes is an update. */
  #begin(problems: readonly ConfigurationProblem[]): void {
    if (this.#started) return;
    this.#started = true;
    if (this.#timer !== undefined) this.#input.clock.clearTimer(this.#timer);
    this.#timer = undefined;
    this.#failed = problems.length > 0;
    this.#settleFirst(problems);
    if (this.#failed) this.#subscription?.unsubscribe();
  }

  /** Logs the first line of a kind, then at most one a minute with the number of the others. */
  #warn(kind: 'rejected' | 'balancing' | 'lookup' | 'ended', message: string): void {
    this.#lines.say(kind, message, this.#input.warn);
  }

  /** A channel keeps the load balancing it was made with. */
  #tellOfBalancing(next: ParsedServiceConfig): void {
    const of = (config: ParsedServiceConfig | undefined) => JSON.stringify(config?.loadBalancingConfig);
    if (of(next) === of(this.#config)) return;
    this.#warn('balancing', `${this.#input.path}.loadBalancingConfig: a change of it holds from the next start on`);
  }
}

/** True if `value` was read from DNS. */
function isRecord(value: unknown): boolean {
  return value instanceof LocatedServiceConfig || (value instanceof UnreadableServiceConfig && value.isRecord);
}

/** The first of `problems`, and how many more there are. */
function summaryOf(problems: readonly ConfigurationProblem[]): string {
  const [first] = problems;
  const more = problems.length > 1 ? ` (${String(problems.length - 1)} more)` : '';
  return first === undefined ? '' : `${first.path}: ${first.message}${more}`;
}

const OLD_STAYS = 'what was in force before stays';
