import { Logger } from '@nestjs/common';
import type { DrainReport, ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import { closest } from '../client/settings/closest.js';
import { resolveSettings } from '../client/settings/resolve-settings.js';
import type { ResolvedClientSettings } from '../client/settings/resolved-settings.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import type { Clock } from '../time/clock.js';
import type { Random } from '../time/random.js';
import { placeOfCaller } from './call-place.js';
import { defineClients, pathOfClient, type ClientDefinition } from './client-definition.js';
import { definitionDifferences } from './definition-difference.js';
import { GrpcClients } from './grpc-clients.js';
import { clientLabel } from './grpc-tokens.js';
import { DEFAULT_DRAIN, type GrpcClientOptions, type ResilientGrpcModuleOptions } from './module-options.js';
import { moduleOptionsProblems } from './module-options.validation.js';
import { startUpLine } from './start-up-line.js';

/** What the registry needs from outside. */
export interface RegistrySeams {
  /** `logger` bears the client's name. */
  readonly createClient: (settings: ResolvedClientSettings, logger: Logger) => ResilientGrpcClient;
  readonly clock: Clock;
  readonly random: Random;
}

interface Entry {
  readonly definition: ClientDefinition;
  readonly settings: unknown;
  readonly client: ResilientGrpcClient;
}

interface Root {
  readonly options: ResilientGrpcModuleOptions;
  readonly place: string;
}

/** The clients of one application: one name is one channel. */
export class ClientRegistry extends GrpcClients {
  private readonly entries = new Map<string | symbol, Entry>();
  private root: Root | undefined;
  private verdict: Promise<never> | undefined;
  private pending: ConfigurationProblem[] | undefined;
  private started = false;
  private open = true;

  constructor(private readonly seams: RegistrySeams) {
    super();
  }

  get accepting(): boolean {
    return this.open;
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
    const problems = moduleOptionsProblems(options);
    if (this.root !== undefined) {
      const message = `called twice, at ${this.root.place} and at ${place}; keep one, in the root module`;
      problems.push({ path: 'forRoot', message });
    }
    if (this.entries.size > 0) {
      const message = `comes after clients were made (${this.names()}); import it in the root module`;
      problems.push({ path: 'forRoot', message });
    }
    if (problems.length === 0) {
      this.root = { options, place };
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

  /** The client of a definition, made at its first use. @throws GrpcConfigurationError */
  async obtain(definition: ClientDefinition, settings: unknown): Promise<ResilientGrpcClient> {
    const problems = this.differenceProblems(definition, settings);
    const known = this.entries.get(definition.name);
    if (known !== undefined && problems.length === 0) return known.client;
    // Where forRoot has failed the start fails: nothing is connected any more.
    const made =
      known === undefined ? this.make(definition, settings, this.started || this.verdict === undefined) : problems;
    if ('client' in made) return made.client;
    return made.length === 0 && this.verdict !== undefined ? this.verdict : this.fail(made);
  }

  /** The application is up: from now on a failing client, of a module that is loaded lazily, leaves the others alone. */
  start(): void {
    this.started = true;
  }

  get(name: string | symbol): ResilientGrpcClient {
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
    const made = this.make(definition, definition.settings);
    if (!('client' in made)) throw new GrpcConfigurationError(made);
    const { client } = made;
    // The caller owns it: once it is closed its name is free.
    client.connectivity$.subscribe({
      complete: () => {
        if (this.entries.get(definition.name)?.client === client) this.entries.delete(definition.name);
      },
    });
    return client;
  }

  *[Symbol.iterator](): Iterator<ResilientGrpcClient> {
    for (const { client } of [...this.entries.values()]) yield client;
  }

  /** Readiness goes down; calls still begin. */
  refuseNew(): void {
    this.open = false;
  }

  /** Drains and closes all clients at once. */
  async drainAll(timeoutMs: number): Promise<readonly DrainReport[]> {
    this.open = false;
    return Promise.all([...this].map((client) => client.drain({ timeoutMs })));
  }

  private make(
    definition: ClientDefinition,
    settings: unknown,
    wanted = true,
  ): Entry | readonly ConfigurationProblem[] {
    const { label, path, services } = definition;
    const logger = new Logger(`ResilientGrpc:${label}`);
    const { clock, random } = this.seams;
    const resolution = resolveSettings(
      { name: label, path, services, settings, defaults: this.root?.options.defaults },
      { clock, random, report: (message) => logger.warn(message) },
    );
    if (!resolution.ok) return resolution.problems;
    if (!wanted) {
      resolution.settings.channel.credentials.close();
      return [];
    }
    const client = this.seams.createClient(resolution.settings, logger);
    const entry: Entry = { definition, settings, client };
    this.entries.set(definition.name, entry);
    logger.log(startUpLine(resolution.settings));
    for (const warning of resolution.warnings) logger.warn(warning);
    return entry;
  }

  private differenceProblems(definition: ClientDefinition, settings: unknown): ConfigurationProblem[] {
    const known = this.entries.get(definition.name);
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
    all.push(...problems);
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
