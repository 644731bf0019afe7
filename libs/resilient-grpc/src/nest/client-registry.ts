import { isDeepStrictEqual } from 'node:util';
import type { ObservableServer } from '../call/server-event.js';
import type { DrainReport } from '../call/call-event.js';
import type { InternalGrpcClient } from '../client/create-client.js';
import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import type { InterceptorSource } from '../client/interceptors/call-hooks.js';
import { copyOptions, unreadable } from '../client/settings/copy-options.js';
import { resolveSettings, type SettingsResolution } from '../client/settings/resolve-settings.js';
import { type ResolvedClientSettings, withInitialServiceConfig } from '../client/settings/resolved-settings.js';
import { errorMessage } from '../errors/error-message.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { nextTurn, type Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { callSite } from '../client/caller/call-site.js';
import { LibraryLogger } from '../telemetry/log/library-logger.js';
import { duration } from '../telemetry/log/log-text.js';
import { defineClients, type ClientDefinition } from './client-definition.js';
import { GrpcClients } from './grpc-clients.js';
import { clientLabel } from './grpc-tokens.js';
import {
  drainWarning,
  resolveDrain,
  type GrpcClientOptions,
  type NestGrpcClientOptions,
  type ResilientGrpcModuleOptions,
  type ResolvedDrain,
} from './module-options.js';
import { moduleOptionsProblems } from './module-options.validation.js';
import { startUpLine } from './start-up-line.js';
import { proxyProblem } from '../channel/connection/http-proxy.js';

/** `inspect.custom` from node:util. It is not imported, because its type would appear in the package's declarations. */
const INSPECT = Symbol.for('nodejs.util.inspect.custom');

export interface RegistryDependencies {
  /** Creates a client; `logger` adds the client's name to each line. */
  readonly createClient: (settings: ResolvedClientSettings, logger: LibraryLogger) => InternalGrpcClient;
  readonly clock: Clock;
  readonly random: Random;
  /** Resolves interceptor classes of clients that are created at run time. */
  readonly interceptorOf?: InterceptorSource;
}

interface Defined {
  readonly definition: ClientDefinition;
  readonly settings: unknown;
  readonly interceptorOf: InterceptorSource | undefined;
}

interface Entry extends Defined {
  readonly resolved: ResolvedClientSettings;
  readonly client: InternalGrpcClient;
}

/** Client that is waiting for its first service config. */
interface Waiting extends Defined {
  readonly client: Promise<ResilientGrpcClient>;
}

type Resolution = Extract<SettingsResolution, { ok: true }>;

interface Root {
  readonly options: ResilientGrpcModuleOptions;
  readonly place: string;
}

export class ClientRegistry extends GrpcClients {
  /** True if the application has started. From then on, a client that fails in a lazily loaded module does not affect other clients. */
  hasStarted = false;
  /** Upper limit for `drain.timeoutMs` in milliseconds. `overrideGrpcClient` sets this limit in tests. */
  maxDrainMs = Infinity;
  readonly servers = new Set<ObservableServer>();
  private readonly entries = new Map<string | symbol, Entry>();
  private readonly waiting = new Map<string | symbol, Waiting>();
  private readonly droppedKeys = new Set<string>();
  private root: Root | undefined;
  private verdict: Promise<never> | undefined;
  private pending: ConfigurationProblem[] | undefined;
  private ready = true;
  private open = true;
  private failed = false;

  constructor(private readonly dependencies: RegistryDependencies) {
    super();
  }

  get accepting(): boolean {
    return this.ready && this.open;
  }

  /** Omits client settings, which contain credentials and metadata, from logs. */
  toJSON(): object {
    return { clients: [...this] };
  }

  [INSPECT](): string {
    return `GrpcClients [ ${this.names()} ]`;
  }

  get size(): number {
    return this.entries.size;
  }

  /** Drain options of forRoot, with defaults and `maxDrainMs` applied. */
  get drainOptions(): ResolvedDrain {
    const drain = resolveDrain(this.root?.options.drain);
    return { ...drain, timeoutMs: Math.min(drain.timeoutMs, this.maxDrainMs) };
  }

  /** Applies the options of forRoot, once. */
  configure(options: ResilientGrpcModuleOptions, place: string): void {
    const copied = copyOptions(options);
    const problems = moduleOptionsProblems(copied);
    if (this.root !== undefined) {
      const message = `called twice, at ${this.root.place} and at ${place}; keep one call, in the root module`;
      problems.push({ path: 'forRoot', message });
    }
    if (this.entries.size > 0) {
      const message = `called after clients were created (${this.names()}); import it in the root module`;
      problems.push({ path: 'forRoot', message });
    }
    if (problems.length === 0) {
      // The cast is safe: the checks found no problems.
      this.root = { options: copied as ResilientGrpcModuleOptions, place };
      const { drain } = this.root.options;
      // With a timeout of 0, calls may run until Nest has closed its servers, so a readiness delay does not shorten their time.
      const warning = drain?.timeoutMs === 0 ? undefined : drainWarning(resolveDrain(drain));
      if (warning !== undefined) warn(warning);
      return;
    }
    this.verdict = this.fail(problems);
    // `rootVerdict` rethrows the error. If startup fails for another reason first, the rejection must not be reported as unhandled.
    this.verdict.catch(() => undefined);
  }

  /** @throws GrpcConfigurationError if the options of forRoot are invalid, or forRoot was called twice or after a client was created. */
  async rootVerdict(): Promise<void> {
    await this.verdict;
  }

  /** True if `propagate` is configured, so that inbound calls are captured. */
  get capturesInbound(): boolean {
    return this.root?.options.propagate !== undefined;
  }

  /** Returns the client of a definition, and creates it on first use. @throws GrpcConfigurationError */
  async obtain(
    definition: ClientDefinition,
    given: unknown,
    interceptorOf?: InterceptorSource,
  ): Promise<ResilientGrpcClient> {
    const defined: Defined = { definition, settings: copyOptions(given), interceptorOf };
    const { name } = definition;
    const known = this.entries.get(name) ?? this.waiting.get(name);
    if (known !== undefined) {
      const problems = differenceProblems(known, defined);
      return problems.length > 0 ? this.fail(problems) : known.client;
    }
    const resolved = this.resolve(defined);
    if (!resolved.ok) return this.fail(resolved.problems);
    // If forRoot has problems, startup fails, so no client is created.
    if (!this.hasStarted && this.verdict !== undefined) {
      release(resolved.settings);
      return this.verdict;
    }
    if (this.hasFailed) {
      release(resolved.settings);
      throw notCreated(definition);
    }
    if (resolved.settings.live === undefined) return this.register(defined, resolved);
    const client = this.createWhenConfigured(defined, resolved);
    this.waiting.set(name, { ...defined, client });
    return client;
  }

  /**
   * Resolves the interceptors of all clients, after the container has created its providers.
   * @throws GrpcConfigurationError for classes that the container does not provide as singletons.
   */
  async checkInterceptors(): Promise<void> {
    const problems = [...this.entries.values()].flatMap(({ definition, resolved, interceptorOf }) =>
      (resolved.hooks?.classes ?? []).flatMap((type): ConfigurationProblem[] => {
        try {
          interceptorOf?.(type);
          return [];
        } catch (error) {
          return [{ path: `${definition.path}.interceptors`, message: errorMessage(error) }];
        }
      }),
    );
    if (problems.length > 0) await this.fail(problems);
  }

  get(name: string | symbol): InternalGrpcClient {
    const entry = this.entries.get(name);
    if (entry !== undefined) return entry.client;
    const remedy =
      this.entries.size === 0
        ? 'no client exists yet; import ResilientGrpcModule.forFeature([...])'
        : `known clients: ${this.names()}`;
    throw new Error(`No gRPC client '${clientLabel(name)}'; ${remedy}`);
  }

  create(options: NestGrpcClientOptions | GrpcClientOptions): ResilientGrpcClient {
    if (!this.open) throw new Error('Cannot create a gRPC client: the application is shutting down');
    const place = callSite();
    const defined = defineClients([options], 'sync', place);
    if (!defined.ok) throw new GrpcConfigurationError(defined.problems);
    const [definition] = defined.definitions;
    if (definition === undefined)
      throw new GrpcConfigurationError([{ path: 'clients', message: 'expected a client, got nothing' }]);
    const known = this.entries.get(definition.name) ?? this.waiting.get(definition.name);
    if (known !== undefined) {
      const message = `the client defined at ${known.definition.callSite} already has this name; choose another name, or first close that client if create() created it`;
      throw new GrpcConfigurationError([{ path: definition.path, message }]);
    }
    const own = { definition, settings: definition.settings, interceptorOf: this.dependencies.interceptorOf };
    const resolved = this.resolve(own);
    if (!resolved.ok) throw new GrpcConfigurationError(resolved.problems);
    try {
      resolved.settings.live?.start();
    } catch (error) {
      release(resolved.settings);
      throw error;
    }
    const client = this.register(own, resolved);
    // The caller owns the client; closing it frees its name.
    client.connectivity$.subscribe({
      complete: () => {
        if (this.entries.get(definition.name)?.client === client) this.entries.delete(definition.name);
      },
    });
    return client;
  }

  *[Symbol.iterator](): Iterator<InternalGrpcClient> {
    for (const { client } of [...this.entries.values()]) yield client;
  }

  /** Turns readiness off. From now on, the clients count the calls that finish, for the drain report. */
  beginShutdown(): void {
    this.ready = false;
    for (const client of this) client.noteShutdown();
  }

  /** Rejects new clients; existing clients can still start calls. */
  refuseNew(): void {
    this.open = false;
  }

  /** Ends all calls whose `onDrain` is 'complete' or 'fail', in every client. Other calls continue, and more of them may start. */
  async endStreams(): Promise<void> {
    await Promise.all([...this.entries.values()].map(({ client }) => client.endStreams()));
  }

  /** Drains and closes all clients concurrently. `timeoutMs` is the remaining part of `drain.timeoutMs`. */
  async drainAll(timeoutMs: number): Promise<readonly DrainReport[]> {
    this.open = false;
    const { timeoutMs: drainMs } = this.drainOptions;
    const option =
      drainMs === this.maxDrainMs
        ? `drain.timeoutMs, which overrideGrpcClient() limits to ${duration(drainMs)}`
        : 'drain.timeoutMs of ResilientGrpcModule.forRoot()';
    const limit = { timeoutMs: drainMs, option };
    return Promise.all([...this].map((client) => client.drain({ timeoutMs }, limit)));
  }

  /**
   * True if startup failed and has closed all clients. No client may be created then, although Nest still runs the asynchronous factories
   * of other modules. False while `fail` collects problems, because `fail` also closes clients that are created meanwhile.
   */
  private get hasFailed(): boolean {
    return this.failed && !this.hasStarted && this.pending === undefined;
  }

  private resolve({ definition, settings, interceptorOf }: Defined): SettingsResolution {
    const { label, path, services } = definition;
    const { clock, random } = this.dependencies;
    const { defaults, propagate } = this.root?.options ?? {};
    const { warnOfDropped: droppedMetadata } = this;
    return resolveSettings(
      { name: label, path, services, settings, defaults, propagate, droppedMetadata, interceptorOf },
      {
        clock,
        random,
        report: (message, event) => loggerOf(label).write('warn', message, { client: label, event }),
      },
    );
  }

  /** Warns once per key if metadata of an inbound call cannot be forwarded. */
  private readonly warnOfDropped = (key: string, problem: string): void => {
    if (this.droppedKeys.has(key)) return;
    this.droppedKeys.add(key);
    const remedy = key.endsWith('-bin')
      ? ''
      : `. To forward any value, let the caller send it as '${key}-bin', in base64, and propagate that key`;
    warn(`propagate.metadata: a value of '${key}' is not forwarded: ${problem}${remedy}`);
  };

  private register(defined: Defined, resolution: Resolution): ResilientGrpcClient {
    const { definition } = defined;
    const logger = loggerOf(definition.label);
    const resolved = withInitialServiceConfig(resolution.settings);
    const client = this.createClient(definition, resolved, logger);
    this.entries.set(definition.name, { ...defined, resolved, client });
    logger.write('log', ...startUpLine(resolved));
    const warnings = [...resolution.warnings];
    if (resolved.propagation !== undefined && !this.capturesInbound) {
      warnings.push('propagate is on, but inbound calls are not captured; also write forRoot({ propagate: {} })');
    }
    const proxy = proxyProblem(process.env);
    if (proxy !== undefined && resolved.channel.channelOptions['grpc.enable_http_proxy'] !== 0) warnings.push(proxy);
    const fields = { client: definition.label, event: 'configuration' };
    for (const warning of warnings) logger.write('warn', warning, fields);
    return client;
  }

  /** @throws GrpcConfigurationError if grpc-js rejects settings that passed validation. */
  private createClient(
    { path }: ClientDefinition,
    resolved: ResolvedClientSettings,
    logger: LibraryLogger,
  ): InternalGrpcClient {
    try {
      const client = this.dependencies.createClient(resolved, logger);
      if (!this.ready) client.noteShutdown();
      return client;
    } catch (error) {
      release(resolved);
      throw new GrpcConfigurationError([unreadable(path, error)]);
    }
  }

  /**
   * Creates a client when its first service config has arrived or the wait has timed out, because a client creates its channel only once.
   */
  private async createWhenConfigured(defined: Defined, resolution: Resolution): Promise<ResilientGrpcClient> {
    const { name, path } = defined.definition;
    try {
      await resolution.settings.live?.first;
    } catch (error) {
      this.waiting.delete(name);
      release(resolution.settings);
      const problem = { path: `${path}.serviceConfig`, message: errorMessage(error) };
      return this.fail(error instanceof GrpcConfigurationError ? error.problems : [problem]);
    }
    this.waiting.delete(name);
    if (!this.hasFailed && this.open) return this.register(defined, resolution);
    // During the wait, startup failed or the shutdown began.
    release(resolution.settings);
    throw notCreated(defined.definition);
  }

  /** Rejects with the problems of all failures that occur in one turn of the event loop, so that a failed startup reports all of them. */
  private async fail(problems: readonly ConfigurationProblem[]): Promise<never> {
    const all = (this.pending ??= []);
    // A problem with grpc-js is the same for each client; list it once.
    const isNew = ({ path, message }: ConfigurationProblem): boolean =>
      !all.some((one) => one.path === path && one.message === message);
    all.push(...problems.filter(isNew));
    this.failed = true;
    await nextTurn(this.dependencies.clock);
    this.pending = undefined;
    // A failed startup must close all connections.
    if (!this.hasStarted) await Promise.all([...this].map((client) => client.close()));
    throw new GrpcConfigurationError(all);
  }

  private names(): string {
    return [...this.entries.keys()].map((name) => `'${clientLabel(name)}'`).join(', ');
  }
}

function differenceProblems(known: Defined, other: Defined): readonly ConfigurationProblem[] {
  const { definition } = other;
  if (known.definition.source === definition.source) return [];
  const [a, b] = [comparable(known), comparable(other)];
  const keys = new Set([...Object.keys(a), ...Object.keys(b)]);
  const differences = [...keys].filter((key) => !isDeepStrictEqual(a[key], b[key]));
  if (differences.length === 0) return [];
  const places = `at ${known.definition.callSite} and at ${definition.callSite}`;
  const message = `defined twice, ${places}, with different ${differences.join(', ')}; define it in one module and import that module (or set isGlobal: true), or rename one of them`;
  return [{ path: definition.path, message }];
}

/** Returns the options of a client. Loading one file twice creates two package definitions, so their methods are compared. */
function comparable({ definition: { contract, services }, settings }: Defined): Readonly<Record<string, unknown>> {
  const methods = [...services.values()].flatMap((all) => [...all.values()]);
  const signature = methods.map((one) => `${one.path} ${one.kind} ${String(one.declaredIdempotent)}`).sort();
  return {
    ...contract,
    ...(contract['packageDefinition'] !== undefined && { packageDefinition: signature }),
    ...(Object(settings) as object),
  };
}

function warn(message: string): void {
  new LibraryLogger('ResilientGrpc').write('warn', message, { event: 'configuration' });
}

function loggerOf(label: string): LibraryLogger {
  return new LibraryLogger(`ResilientGrpc:${label}`);
}

function notCreated({ label }: ClientDefinition): Error {
  return new Error(`Cannot create gRPC client '${label}': the application failed to start or is shutting down`);
}

function release(settings: ResolvedClientSettings): void {
  settings.live?.close();
  settings.channel.credentials.close();
}

/**
 * Returns a unique key for each client: its name, followed by a number for the second and later clients with the same name, such as
 * 'db (2)'. Names can be equal, because a client named by a symbol has the symbol's description as its name.
 */
export function clientKeys<Client extends { readonly name: string }>(
  clients: readonly Client[],
): ReadonlyMap<Client, string> {
  const keys = new Map<Client, string>();
  const taken = new Set<string>();
  for (const client of clients) {
    let key = client.name;
    for (let number = 2; taken.has(key); number++) key = `${client.name} (${String(number)})`;
    taken.add(key);
    keys.set(client, key);
  }
  return keys;
}
