import { lacksPort, targetProblem } from '../channel/channel-checks.js';
import { grpcJsProblem } from '../channel/quirks/grpc-js-version.js';
import { copyOptions, unreadable } from '../client/settings/copy-options.js';
import { describeValue, pathOf } from '../policy/options/describe-value.js';
import { contractKeysProblem } from '../client/settings/contract.js';
import { transportOfProcess } from '../client/settings/resolve-channel-settings.js';
import { optionsByPattern } from '../client/settings/method-patterns.js';
import { concurrencyPolicy } from '../policy/concurrency/permit-queue.js';
import { withoutNulls } from '../policy/options/option-schemas.js';
import { optionProblems } from '../policy/options/option-problems.js';
import { errorMessage } from '../errors/error-message.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { drainWarning, resolveDrain } from '../nest/module-options.js';
import { flattenNestOptions } from '../nest/nest-grpc-options.js';
import { channelOptionProblems, connectionLimits, ignoredOptions } from './grpc-server-options.js';
import { optionsWithoutMeaning } from './grpc/transport-settings.js';
import { MemoryOnceStore } from './once/memory-once-store.js';
import { requireProtoLoader } from './proto-loader.js';
import {
  DEFAULT_SERVER_OPTIONS,
  type OnceOptions,
  type ResolvedOnce,
  type ResilientGrpcServerOptions,
  type ResolvedServerMethod,
  type ResolvedServerOptions,
  type ServerMethodOptions,
} from './server-options.js';
import { NEST_OPTIONS, serverOptionsSchema } from './server-options-schema.js';

/** What Nest takes as not given. It takes NaN in the same way, but that is a mistake of the application. */
const NOT_GIVEN: ReadonlySet<unknown> = new Set([null, '', false, undefined]);

/**
 * Validates options and applies defaults. The `.proto` files, their packages, and the methods that the options name are checked when the
 * server starts.
 *
 * @param options options as passed by the user: untrusted, and not modified
 * @param path path of the options in the reported problems, such as 'ResilientGrpcServerModule.forRoot'
 * @throws GrpcConfigurationError if the options are invalid
 */
export function resolveServerOptions(options: unknown, path: string): ResolvedServerOptions {
  const unusable = grpcJsProblem();
  if (unusable !== undefined) throw new GrpcConfigurationError([{ path: '@grpc/grpc-js', message: unusable }]);
  try {
    const value = copyOptions(options);
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return resolveReadable(value, path);
    const { options: flat, problems } = flattenNestOptions(value, path);
    return resolveReadable(givenOf(flat), path, problems);
  } catch (error) {
    // A getter threw.
    throw error instanceof GrpcConfigurationError ? error : new GrpcConfigurationError([unreadable(path, error)]);
  }
}

/** Returns the options without what Nest's server, or grpc-js's, takes as not given, such as `maxSendMessageLength: null`. */
function givenOf({ keepalive, channelOptions, ...others }: Readonly<Record<string, unknown>>) {
  const options = { ...others, keepalive: withoutNulls(keepalive), channelOptions: withoutNulls(channelOptions) };
  return Object.fromEntries(
    Object.entries(options).filter(([key, value]) => !NEST_OPTIONS.has(key) || !NOT_GIVEN.has(value)),
  );
}

function resolveReadable(
  options: unknown,
  path: string,
  nestingProblems: readonly ConfigurationProblem[] = [],
): ResolvedServerOptions {
  const problems = [...nestingProblems, ...optionProblems(serverOptionsSchema, options, path)];
  // The cast is valid only for keys without problems. A rule below that reads any other key must check the type of its value.
  const given = (typeof options === 'object' && options !== null ? options : {}) as Partial<ResilientGrpcServerOptions>;
  const isValid = (key: keyof ResilientGrpcServerOptions) => {
    const own = pathOf(path, key);
    const isOwn = (found: string) => found === own || found.startsWith(`${own}.`) || found.startsWith(`${own}[`);
    return !problems.some((problem) => isOwn(problem.path));
  };
  const moreProblems = [
    ...(isValid('url') ? urlProblems(given, path) : []),
    ...(typeof options === 'object' && options !== null ? contractProblems(given, path) : []),
    ...(isValid('protoLoader') ? protoLoaderProblems(given, path) : []),
    ...(isValid('channelOptions') && isValid('keepalive') && isValid('connections')
      ? channelOptionProblems(given, path)
      : []),
  ];
  if (problems.length + moreProblems.length > 0) throw new GrpcConfigurationError([...problems, ...moreProblems]);
  // The cast is safe: no problems were found.
  return complete(given as ResilientGrpcServerOptions, path);
}

/** Options of a method, with the options of the server applied. */
type GivenMethod = Omit<ResolvedServerMethod, 'maxConcurrentCalls'> & Pick<ServerMethodOptions, 'maxConcurrentCalls'>;

function complete(options: ResilientGrpcServerOptions, path: string): ResolvedServerOptions {
  const { methods } = options;
  const forAll: GivenMethod = {
    onDrain: options.onDrain ?? (options.gracefulShutdown === true ? 'finish' : DEFAULT_SERVER_OPTIONS.onDrain),
    maxStreamIdleMs: options.maxStreamIdleMs,
    overloadProtection: options.overloadProtection ?? DEFAULT_SERVER_OPTIONS.overloadProtection,
    // The limit in the options of the server applies to all methods together.
    maxConcurrentCalls: undefined,
    maxCallMs: options.maxCallMs,
  };
  const warnings: string[] = [];
  const isOnGrpcJs = transportOfProcess((message) => warnings.push(message)) === 'grpc-js';
  const transport: ResolvedServerOptions['transport'] = isOnGrpcJs
    ? 'grpc-js'
    : (options.transport ?? DEFAULT_SERVER_OPTIONS.transport);
  const resolved = {
    path,
    nest: options,
    drain: resolveDrain(options.drain),
    ...connectionLimits(options),
    maxConnections: options.connections?.max ?? Infinity,
    transport,
    once: options.once && resolveOnce(options.once),
    health: options.health ?? DEFAULT_SERVER_OPTIONS.health,
    maxConcurrentCalls: concurrencyPolicy(options.maxConcurrentCalls),
    reflection: options.reflection ?? DEFAULT_SERVER_OPTIONS.reflection,
    patterns: Object.freeze(Object.keys(methods ?? {})),
    methodOptions: (service: string, method: string) =>
      resolveMethod({ ...forAll, ...optionsByPattern(methods, service, method).options }),
  };
  return Object.freeze({ ...resolved, warnings: Object.freeze([...warnings, ...warningsOf(options, resolved)]) });
}

function resolveOnce({ store, ttlMs, scopeBy, maxRunMs, sameRequest }: OnceOptions): ResolvedOnce {
  return {
    store: store ?? new MemoryOnceStore(),
    ttlMs: ttlMs ?? DEFAULT_SERVER_OPTIONS.onceTtlMs,
    maxRunMs: maxRunMs ?? DEFAULT_SERVER_OPTIONS.onceMaxRunMs,
    scopeBy: scopeBy ?? (() => ''),
    // Safe cast: it gets the requests of its method.
    sameRequest: sameRequest as ResolvedOnce['sameRequest'],
  };
}

/** Completes the options of a method. Limits that are turned off (`Infinity`, `false`) become `undefined`. */
function resolveMethod({ maxStreamIdleMs, maxConcurrentCalls, maxCallMs, ...rest }: GivenMethod): ResolvedServerMethod {
  return Object.freeze({
    ...rest,
    maxStreamIdleMs: maxStreamIdleMs === Infinity ? undefined : maxStreamIdleMs,
    maxConcurrentCalls: concurrencyPolicy(maxConcurrentCalls),
    maxCallMs: maxCallMs === Infinity ? undefined : maxCallMs,
  });
}

function urlProblems({ url }: Partial<ResilientGrpcServerOptions>, path: string): ConfigurationProblem[] {
  // Allows ':0', for which the operating system chooses the port.
  const problem = url === undefined ? undefined : targetProblem(url, 0);
  return problem === undefined ? [] : [{ path: pathOf(path, 'url'), message: problem }];
}

function contractProblems(options: Partial<ResilientGrpcServerOptions>, path: string): ConfigurationProblem[] {
  const problem = contractKeysProblem(options);
  return problem === undefined ? [] : [{ path: pathOf(path, problem.key), message: problem.message }];
}

/** Checks `protoLoader` here, because Nest exits the process if it cannot load the package. */
function protoLoaderProblems(
  { protoLoader }: Partial<ResilientGrpcServerOptions>,
  path: string,
): ConfigurationProblem[] {
  if (protoLoader === undefined) return [];
  try {
    const loaded = requireProtoLoader(protoLoader);
    if (typeof loaded === 'object' && loaded !== null && 'loadSync' in loaded) return [];
    const message = `expected a package with loadSync(), got "${protoLoader}"; leave the option out to use @grpc/proto-loader`;
    return [{ path: pathOf(path, 'protoLoader'), message }];
  } catch (error) {
    const [text] = errorMessage(error).split('\n');
    const message = `expected a loadable package, got ${describeValue(protoLoader)} (${text ?? ''}); install the package (for a bundled application, next to the bundle), or leave the option out to use @grpc/proto-loader`;
    return [{ path: pathOf(path, 'protoLoader'), message }];
  }
}

/** Returns warnings about valid options that have no effect, conflict with each other, or rely on the default port. */
function warningsOf(
  options: ResilientGrpcServerOptions,
  { drain, maxConnectionAgeMs, maxConnectionAgeGraceMs, transport }: Omit<ResolvedServerOptions, 'warnings'>,
): string[] {
  const ignored = ignoredOptions(options, transport);
  const warnings: string[] = [];
  if (options.url !== undefined && lacksPort(options.url)) {
    warnings.push(`url '${options.url}' has no port; gRPC uses 443; add the port`);
  }
  if (ignored.length > 0) warnings.push(`options ignored by grpc-js servers: ${ignored.join(', ')}; remove them`);
  const meaningless = transport === 'socket' ? optionsWithoutMeaning(options.channelOptions ?? {}) : [];
  if (meaningless.length > 0) {
    const names = meaningless.join(', ');
    warnings.push(`channelOptions without a meaning for servers on transport 'socket': ${names}; remove them`);
  }
  if (maxConnectionAgeGraceMs !== undefined && maxConnectionAgeMs === undefined) {
    warnings.push('connections.graceMs has no effect without connections.maxAgeMs; set both, or remove graceMs');
  }
  const drainProblem = drainWarning(drain);
  if (drainProblem !== undefined) warnings.push(drainProblem);
  return warnings;
}
