import type { Observable, Subscription } from 'rxjs';
import type { BalancingSettings } from '../../channel/channel-settings.js';
import {
  FOR_TARGET,
  LocatedServiceConfig,
  UnreadableServiceConfig,
  needsTarget,
} from '../../channel/dns/dns-service-config.js';
import { errorMessage } from '../../errors/error-message.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { parseServiceConfig } from '../../policy/service-config/parse-service-config.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import type { Clock, Timer } from '../../time/clock.js';
import type { Random } from '../../time/random.js';
import { unreadable } from './copy-options.js';
import type { ResolvedMethodPolicy } from './resolve-method-policies.js';

export interface LiveServiceConfigInput {
  /** The Observable from the options. Its values are untrusted. */
  readonly source: Observable<unknown>;
  /** Path of the option: 'clients.orders.serviceConfig'. */
  readonly path: string;
  readonly target: string;
  /** Returns additional problems, such as load balancing that grpc-js does not support. */
  readonly check: (config: ParsedServiceConfig) => readonly ConfigurationProblem[];
  /** Returns the policy of each method, by path, with or without a service config. */
  readonly policies: (config: ParsedServiceConfig | undefined) => ReadonlyMap<string, ResolvedMethodPolicy>;
  /** Returns the channel settings, with or without a service config. */
  readonly balancing: (config: ParsedServiceConfig | undefined) => BalancingSettings;
  readonly clock: Clock;
  readonly random: Random;
  /** Logs a warning, for example if an update is rejected. */
  readonly warn: (message: string) => void;
}

/**
 * Maximum length of a problem in a log line, in characters. A limit is needed because the path of a problem contains keys of the service
 * config.
 */
const MAX_PROBLEM_LENGTH = 1_000;
/** Maximum time in milliseconds that startup waits for the first service config. */
const FIRST_SERVICE_CONFIG_TIMEOUT_MS = 5_000;

/**
 * A service config that changes while its client is open. Each value is validated as a whole. An invalid update is logged, and the current
 * service config remains in effect. A call keeps the policy with which it started.
 *
 * Before the first value, there is no service config to keep. An invalid first value therefore makes startup fail, as does a source that
 * fails or completes without a value. In two cases, startup succeeds anyway:
 * - A late value, because otherwise an outage of the config service would prevent every startup. After 5 s, the client starts without a
 * service config, logs a warning, and uses the value when it arrives.
 * - An invalid DNS record. Running processes ignore it, so the next deployment would otherwise fail because of an unrelated mistake.
 */
export class LiveServiceConfig {
  /**
   * Settles when startup no longer needs to wait. The rejection is handled internally, so callers may ignore it.
   * @throws GrpcConfigurationError (as a rejection) if startup must fail
   */
  readonly first: Promise<void>;
  /** Called with each later service config. */
  onChange: ((config: ParsedServiceConfig) => void) | undefined;
  config: ParsedServiceConfig | undefined;
  private policies: ReadonlyMap<string, ResolvedMethodPolicy>;
  private subscription: Subscription | undefined;
  private timer: Timer | undefined;
  private lastWarning: string | undefined;
  private started = false;
  /** The problems that make startup fail; empty if it does not fail. */
  private startProblems: readonly ConfigurationProblem[] = [];
  private settleFirst: (problems: readonly ConfigurationProblem[]) => void = () => undefined;

  constructor(private readonly input: LiveServiceConfigInput) {
    this.policies = input.policies(undefined);
    this.first = new Promise((resolve, reject) => {
      this.settleFirst = (problems) => {
        if (problems.length === 0) resolve();
        else reject(new GrpcConfigurationError(problems));
      };
    });
    this.first.catch(() => undefined);
    // Deferred, so that a service config that arrived while startup blocked the event loop is processed first.
    const onTimeout = () => {
      input.clock.defer(this.beginLate);
    };
    this.timer = input.clock.setTimer(onTimeout, FIRST_SERVICE_CONFIG_TIMEOUT_MS, true);
    this.subscribe();
  }

  get balancing(): BalancingSettings {
    return this.input.balancing(this.config);
  }

  /**
   * Starts without waiting for the first value, for a client that is created outside of startup. Later values are updates, so invalid ones
   * are logged.
   *
   * @throws GrpcConfigurationError if `first` has already been rejected
   */
  start(): void {
    if (this.startProblems.length > 0) throw new GrpcConfigurationError(this.startProblems);
    this.started = true;
    this.settleFirst([]);
  }

  /** Returns the policy of a method for a call that starts now; `undefined` if there is no such method. */
  policyOf(path: string): ResolvedMethodPolicy | undefined {
    return this.policies.get(path);
  }

  /** Unsubscribes from the source, and resolves `first` if it is pending. The current service config remains in effect. */
  close(): void {
    this.onChange = undefined;
    this.begin([]);
    this.subscription?.unsubscribe();
  }

  private subscribe(): void {
    const { source, target, path, clock, random } = this.input;
    const report = (message: string): void => {
      this.warn(message);
    };
    const subject = needsTarget(source) ? source[FOR_TARGET]({ target, path, clock, random, report }) : source;
    const subscription = subject.subscribe({
      next: (value) => {
        this.take(value);
      },
      error: (error: unknown) => {
        const why = errorMessage(error);
        this.handleEnd(`failed: ${oneLine(why)}`);
      },
      complete: () => {
        if (!this.started) this.handleEnd('completed without a service config');
      },
    });
    this.subscription = subscription;
    // Unsubscribes here if the source made startup fail during subscribe(), because begin() had no subscription to end.
    if (this.startProblems.length > 0) subscription.unsubscribe();
  }

  private take(value: unknown): void {
    try {
      const parsed = this.parse(value);
      if (!('problems' in parsed)) this.use(parsed.config);
      else if (!this.started && isDnsRecord(value)) this.beginWithout(parsed.problems);
      else this.refuse(parsed.problems);
    } catch (error) {
      // Reports the error of a getter or a proxy, or of a value that cannot be represented in JSON. RxJS would rethrow the error and
      // terminate the process.
      this.refuse([unreadable(this.input.path, error)]);
    }
  }

  private refuse(problems: readonly ConfigurationProblem[]): void {
    if (this.started) this.logUnusable(summaryOf(problems));
    else this.begin(problems);
  }

  private use(config: ParsedServiceConfig): void {
    // Throws if `loadBalancingConfig` cannot be serialized, because grpc-js receives it as JSON.
    JSON.stringify(config.loadBalancingConfig);
    this.policies = this.input.policies(config);
    this.config = config;
    this.lastWarning = undefined;
    this.begin([]);
    this.onChange?.(config);
  }

  private parse(
    value: unknown,
  ): { readonly config: ParsedServiceConfig } | { readonly problems: readonly ConfigurationProblem[] } {
    if (value instanceof UnreadableServiceConfig) return value;
    const { path, check } = this.input;
    const parsed =
      value instanceof LocatedServiceConfig
        ? parseServiceConfig(value.value, value.path)
        : parseServiceConfig(value, path);
    if (!parsed.ok) return parsed;
    const problems = check(parsed.config);
    return problems.length > 0 ? { problems } : parsed;
  }

  private handleEnd(problem: string): void {
    if (this.started) this.logUnusable(`${this.input.path}: the Observable ${problem}`);
    else this.begin([{ path: this.input.path, message: `expected a service config, but the Observable ${problem}` }]);
  }

  private logUnusable(problem: string): void {
    this.clearTimer();
    const consequence =
      this.config === undefined ? 'the client has no service config' : 'the current service config stays in effect';
    this.warn(`${problem}; ${consequence}`);
  }

  /** Logs `text`, unless it is the previous one: a source may send an unchanged value periodically. */
  private warn(text: string): void {
    if (text !== this.lastWarning) this.input.warn(text);
    this.lastWarning = text;
  }

  private clearTimer(): void {
    this.timer?.clear();
    this.timer = undefined;
  }

  private readonly beginLate = (): void => {
    if (this.timer === undefined) return;
    const { path } = this.input;
    const waited = `no service config arrived within ${FIRST_SERVICE_CONFIG_TIMEOUT_MS} ms`;
    this.warn(`${path}: ${waited}; the client starts without one and uses the first one that arrives`);
    this.begin([]);
  };

  /** Starts the client without the invalid record. The record is read again periodically, and is used once it is valid. */
  private beginWithout(problems: readonly ConfigurationProblem[]): void {
    const consequence =
      'the client starts without a service config; correct the record, which is read again periodically';
    this.warn(`${summaryOf(problems)}; ${consequence}`);
    this.begin([]);
  }

  /** Settles `first`: resolves it, or rejects it if there are `problems`. Each later value is an update. */
  private begin(problems: readonly ConfigurationProblem[]): void {
    this.clearTimer();
    if (this.started) return;
    this.started = true;
    this.startProblems = problems;
    this.settleFirst(problems);
    if (problems.length > 0) this.subscription?.unsubscribe();
  }
}

function isDnsRecord(value: unknown): boolean {
  return value instanceof LocatedServiceConfig || (value instanceof UnreadableServiceConfig && value.isRecord);
}

/** Formats the first of `problems` and the number of the others. */
function summaryOf(problems: readonly ConfigurationProblem[]): string {
  const [first] = problems;
  const more = problems.length > 1 ? ` (${String(problems.length - 1)} more)` : '';
  return first === undefined ? '' : `${oneLine(`${first.path}: ${first.message}`, MAX_PROBLEM_LENGTH)}${more}`;
}
