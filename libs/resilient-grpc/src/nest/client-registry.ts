import type { DrainReport } from '../client/drain-report.js';
import type { InnerClient } from '../client/inner-client.js';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import { closest } from '../errors/closest.js';
import type { InterceptorSource } from '../client/interceptors/call-hooks.js';
import { copyOptions, unreadable } from '../client/settings/copy-options.js';
import { resolveSettings, type SettingsResolution } from '../client/settings/resolve-settings.js';
import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import { settledSettings } from '../client/settings/settled-settings.js';
import {
  GrpcConfigurationError,
  isGrpcConfigurationError,
  type ConfigurationProblem,
} from '../errors/grpc-configuration-error.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { placeOfCaller } from '../client/code-place.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { defineClients, pathOfClient, type ClientDefinition } from './client-definition.js';
import { definitionDifferences } from './definition-difference.js';
import { GrpcClients } from './grpc-clients.js';
import { clientLabel } from './grpc-tokens.js';
import { InboundWatch } from './inbound/inbound-watch.js';
import { DEFAULT_DRAIN, type GrpcClientOptions, type ResilientGrpcModuleOptions } from './module-options.js';
import { moduleOptionsProblems } from './module-options.validation.js';
import { startUpLine } from './start-up-line.js';

/** `inspect.custom` of node:util, without its types in the package's declarations. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

/** What the registry needs from outside. */
export interface RegistrySeams {
  /** `logger` bears the client's name. */
  readonly createClient: (settings: ResolvedClientSettings, logger: LibraryLogger) => InnerClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Where clients that are made at run time take classes of interceptors from. */
  readonly interceptorOf?: InterceptorSource;
}

/** A client that was defined. */
interface Defined {
  readonly definition: ClientDefinition;
  readonly settings: unknown;
}

interface Entry extends Defined {
  readonly resolved: ResolvedClientSettings;
  readonly interceptorOf: InterceptorSource | undefined;
  readonly client: InnerClient;
}

/** A client that waits for its first service config. */
interface Waiting extends Defined {
  readonly client: Promise<ResilientGrpcClient>;
}

interface Root {
  readonly options: ResilientGrpcModuleOptions;
  readonly place: string;
}

/** The clients of one application: one name is one channel. */
export class ClientRegistry extends GrpcClients {
  private readonly entries = new Map<string | symbol, Entry>();
  private readonly waiting = new Map<string | symbol, Waiting>();
  private readonly watch = new InboundWatch((message) => {
    new LibraryLogger('ResilientGrpc').warn(message);
  });
  private root: Root | undefined;
  private verdict: Promise<never> | undefined;
  private pending: ConfigurationProblem[] | undefined;
  private started = false;
  private ready = true;
  private open = true;
  private failed = false;

  constructor(private readonly seams: RegistrySeams) {
    super();
  }

  get accepting(): boolean {
    return this.ready && this.open;
  }

  /** The form in logs: the settings of clients hold credentials and metadata. */
  toJSON(): object {
    return { clients: [...this] };
  }

  [INSPECT](): string {
    return `GrpcClients [ ${this.names()} ]`;
  }

  get size(): number {
    return this.entries.size;
  }

  /** Options of forRoot, completed. */
  get drainOptions(): { readonly timeoutMs: number; readonly readinessDelayMs: number } {
    const { timeoutMs, readinessDelayMs } = this.root?.options.drain ?? {};
    return {
      timeoutMs: timeoutMs ?? DEFAULT_DRAIN.timeoutMs,
      readinessDelayMs: readinessDelayMs ?? DEFAULT_DRAIN.readinessDelayMs,
    };
  }

  /**
   * Takes the options of forRoot, once. Problems are told by `rootVerdict`, so that clients are looked at all the same and one
   * failing start shows everything.
   */
  configure(options: ResilientGrpcModuleOptions, place: string): void {
    const copied = copyOptions(options, 'forRoot');
    const problems = copied.ok ? moduleOptionsProblems(copied.value) : [...copied.problems];
    if (this.root !== undefined) {
      const message = `called twice, at ${this.root.place} and at ${place}; keep one, in the root module`;
      problems.push({ path: 'forRoot', message });
    }
    if (this.entries.size > 0) {
      const message = `comes after clients were made (${this.names()}); import it in the root module`;
      problems.push({ path: 'forRoot', message });
    }
    if (copied.ok && problems.length === 0) {
      // True: nothing was found that says otherwise.
      this.root = { options: copied.value as ResilientGrpcModuleOptions, place };
      return;
    }
    this.verdict = this.fail(problems);
    // Whoever asks for it gets it; a start that fails elsewhere first does not.
    this.verdict.catch(() => undefined);
  }

  /** @throws GrpcConfigurationError for options of forRoot that cannot be used, or for a second forRoot. */
  async rootVerdict(): Promise<void> {
    await this.verdict;
  }

  /** What of inbound calls is handed on is named somewhere. */
  get capturesInbound(): boolean {
    return this.root?.options.propagate !== undefined;
  }

  /** The client of a definition, made at its first use. @throws GrpcConfigurationError */
  async obtain(
    definition: ClientDefinition,
    given: unknown,
    interceptorOf?: InterceptorSource,
  ): Promise<ResilientGrpcClient> {
    const copied = copyOptions(given, definition.path);
    if (!copied.ok) return this.fail(copied.problems);
    const settings = copied.value;
    const problems = this.differenceProblems(definition, settings);
    if (problems.length > 0) return this.fail(problems);
    const { name } = definition;
    const known = this.entries.get(name) ?? this.waiting.get(name);
    if (known !== undefined) return known.client;
    const resolved = this.resolve(definition, settings, interceptorOf);
    if (!resolved.ok) return this.fail(resolved.problems);
    // Where forRoot has failed the start fails: nothing is connected any more.
    if (!this.started && this.verdict !== undefined) {
      release(resolved.settings);
      return this.verdict;
    }
    if (resolved.settings.live === undefined) return this.make(definition, settings, resolved, interceptorOf);
    const client = this.makeSettled(definition, settings, resolved, interceptorOf);
    this.waiting.set(name, { definition, settings, client });
    return client;
  }

  /**
   * Looks for the interceptors of all clients, when the container has made its providers.
   * @throws GrpcConfigurationError for classes that it does not have, or not as singletons.
   */
  async checkInterceptors(): Promise<void> {
    const problems = [...this.entries.values()].flatMap(({ definition, resolved, interceptorOf }) =>
      (resolved.hooks?.classes ?? []).flatMap((type): ConfigurationProblem[] => {
        try {
          interceptorOf?.(type);
          return [];
        } catch (error) {
          const message = error instanceof Error ? error.message : String(error);
          return [{ path: `${definition.path}.interceptors`, message }];
        }
      }),
    );
    if (problems.length > 0) await this.fail(problems);
  }

  /** The application is up: from now on a failing client, of a module that is loaded lazily, leaves the others alone. */
  start(): void {
    this.started = true;
  }

  get(name: string | symbol): InnerClient {
    const entry = this.entries.get(name);
    if (entry !== undefined) return entry.client;
    const labels = [...this.entries.keys()].map(clientLabel);
    const meant = closest(clientLabel(name), labels);
    const remedy =
      meant !== undefined
        ? `did you mean '${meant}'?`
        : labels.length === 0
          ? 'none is made yet: import ResilientGrpcModule.forFeature([...])'
          : `there are ${this.names()}`;
    throw new Error(`No gRPC client '${clientLabel(name)}'; ${remedy}`);
  }

  create(options: GrpcClientOptions): ResilientGrpcClient {
    if (!this.open) throw new Error('No gRPC client can be made: the application shuts down');
    const place = placeOfCaller();
    const defined = defineClients([options], 'sync', place);
    if (!defined.ok) throw new GrpcConfigurationError(defined.problems);
    const [definition] = defined.definitions;
    if (definition === undefined)
      throw new GrpcConfigurationError([{ path: 'clients', message: 'expected a client, got nothing' }]);
    const known = this.entries.get(definition.name);
    if (known !== undefined) {
      const message = `the name is in use since ${known.definition.place}; close() that client first, or choose another name`;
      throw new GrpcConfigurationError([{ path: definition.path, message }]);
    }
    const { interceptorOf } = this.seams;
    const resolved = this.resolve(definition, definition.settings, interceptorOf);
    if (!resolved.ok) throw new GrpcConfigurationError(resolved.problems);
    const client = this.make(definition, definition.settings, resolved, interceptorOf);
    // The caller owns it: once it is closed its name is free.
    client.connectivity$.subscribe({
      complete: () => {
        if (this.entries.get(definition.name)?.client === client) this.entries.delete(definition.name);
      },
    });
    return client;
  }

  *[Symbol.iterator](): Iterator<InnerClient> {
    for (const { client } of [...this.entries.values()]) yield client;
  }

  /** Readiness goes down, and nothing else. */
  turnUnready(): void {
    this.ready = false;
  }

  /** No client is made any more; calls still begin. */
  refuseNew(): void {
    this.open = false;
  }

  /** Ends the streams of all clients that end at a shutdown; all other calls go on, and may begin. */
  async endStreams(): Promise<void> {
    await Promise.all([...this.entries.values()].map(({ client }) => client.endStreams()));
  }

  /** Drains and closes all clients at once. */
  async drainAll(timeoutMs: number): Promise<readonly DrainReport[]> {
    this.open = false;
    return Promise.all([...this].map((client) => client.drain({ timeoutMs })));
  }

  private resolve(
    { label, path, services }: ClientDefinition,
    settings: unknown,
    interceptorOf: InterceptorSource | undefined,
  ): SettingsResolution {
    const { clock, random } = this.seams;
    const { defaults, propagate } = this.root?.options ?? {};
    return resolveSettings(
      { name: label, path, services, settings, defaults, propagate, inboundNote: this.watch.note, interceptorOf },
      { clock, random, report: (message) => loggerOf(label).warn(message) },
    );
  }

  private make(
    definition: ClientDefinition,
    settings: unknown,
    resolution: Extract<SettingsResolution, { ok: true }>,
    interceptorOf: InterceptorSource | undefined,
  ): ResilientGrpcClient {
    const logger = loggerOf(definition.label);
    const resolved = settledSettings(resolution.settings);
    const client = this.createClient(definition, resolved, logger);
    this.entries.set(definition.name, { definition, settings, resolved, interceptorOf, client });
    logger.log(startUpLine(resolved));
    for (const warning of resolution.warnings) logger.warn(warning);
    if (resolved.propagation !== undefined && !this.capturesInbound) {
      logger.warn('propagate is on, but nothing captures inbound calls; write forRoot({ propagate: {} }) as well');
    }
    return client;
  }

  /** @throws GrpcConfigurationError for settings that grpc-js refuses although the checks accepted them. */
  private createClient(
    { path }: ClientDefinition,
    resolved: ResolvedClientSettings,
    logger: LibraryLogger,
  ): InnerClient {
    try {
      return this.seams.createClient(resolved, logger);
    } catch (error) {
      release(resolved);
      throw new GrpcConfigurationError([unreadable(path, error)]);
    }
  }

  /** Makes a client when its first service config has come, since a channel is made only once. */
  private async makeSettled(
    definition: ClientDefinition,
    settings: unknown,
    resolution: Extract<SettingsResolution, { ok: true }>,
    interceptorOf: InterceptorSource | undefined,
  ): Promise<ResilientGrpcClient> {
    const { name } = definition;
    try {
      await resolution.settings.live?.first;
    } catch (error) {
      this.waiting.delete(name);
      release(resolution.settings);
      return this.fail(isGrpcConfigurationError(error) ? error.problems : [problemOf(definition, error)]);
    }
    this.waiting.delete(name);
    if ((!this.failed || this.started) && this.open) return this.make(definition, settings, resolution, interceptorOf);
    // The start has failed meanwhile, or the application is ending.
    release(resolution.settings);
    throw new Error(`No gRPC client '${definition.label}' is made: the application does not run`);
  }

  private differenceProblems(definition: ClientDefinition, settings: unknown): ConfigurationProblem[] {
    const known = this.entries.get(definition.name) ?? this.waiting.get(definition.name);
    if (known === undefined || known.definition.source === definition.source) return [];
    const differences = definitionDifferences(
      { ...known.definition, settings: known.settings },
      { ...definition, settings },
    );
    if (differences.length === 0) return [];
    const places = `at ${known.definition.place} and at ${definition.place}`;
    return [
      {
        path: pathOfClient(definition.name),
        message: `defined twice, ${places}, with different ${differences.join(', ')}; define it once and import that module (or isGlobal: true), or give one another name`,
      },
    ];
  }

  /** Fails the start with the problems of all who fail in the same turn of the event loop, so that one start shows all. */
  private async fail(problems: readonly ConfigurationProblem[]): Promise<never> {
    const all = (this.pending ??= []);
    // What is wrong with grpc-js is wrong for each client.
    const isNew = ({ path, message }: ConfigurationProblem): boolean =>
      !all.some((one) => one.path === path && one.message === message);
    all.push(...problems.filter(isNew));
    this.failed = true;
    await new Promise<void>((resolve) => {
      this.seams.clock.defer(resolve);
    });
    this.pending = undefined;
    // A start that fails leaves nothing connected.
    if (!this.started) await Promise.all([...this].map((client) => client.close()));
    throw new GrpcConfigurationError(all);
  }

  private names(): string {
    return [...this.entries.keys()].map((name) => `'${clientLabel(name)}'`).join(', ');
  }
}

function loggerOf(label: string): LibraryLogger {
  return new LibraryLogger(`ResilientGrpc:${label}`);
}

function problemOf({ path }: ClientDefinition, error: unknown): ConfigurationProblem {
  return { path: `${path}.serviceConfig`, message: error instanceof Error ? error.message : String(error) };
}

/** Lets go of settings of which no client is made. */
function release(settings: ResolvedClientSettings): void {
  settings.live?.close();
  settings.channel.credentials.close();
}
