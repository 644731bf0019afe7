import { existsSync, statSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { loadSync, type MethodDefinition, type Options, type PackageDefinition } from '@grpc/proto-loader';
import { kindOf, type MethodDescriptor } from '../../call/method.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { pathOf, problemMessage } from '../../policy/options/describe-value.js';
import { isObject } from '../../policy/options/option-schemas.js';
import { errorMessage } from '../../errors/error-message.js';
import { filesOf } from '../../messages/file-descriptors.js';

/** Services by full name, each with its methods by name. */
export type Services = ReadonlyMap<string, ReadonlyMap<string, MethodDescriptor>>;

/** Services that a client can call. The keys have the same meaning as in Nest. */
export type GrpcContract =
  // The form with `protoPath` is last, because TypeScript names the last form in errors about missing keys.
  (
    | {
        /** Package definition that is already loaded. */
        readonly packageDefinition: PackageDefinition;
        readonly protoPath?: undefined;
        readonly loader?: undefined;
      }
    | {
        /** One or more .proto files, relative to the working directory or to `loader.includeDirs`. */
        readonly protoPath: string | readonly string[];
        readonly packageDefinition?: undefined;
        /** Options for proto-loader, passed on unchanged, as in Nest. */
        readonly loader?: Options | undefined;
      }
  ) & {
    /** Packages whose services the client can call. @defaultValue every package with a service */
    readonly package?: string | readonly string[] | undefined;
  };

export const CONTRACT_KEYS = ['protoPath', 'packageDefinition', 'loader', 'package'] as const;

/** The services of a contract and the definition that contains them, or the reasons why the contract cannot be used. */
type LoadedContract =
  | { readonly ok: true; readonly services: Services; readonly definition: PackageDefinition }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

type ContractKey = (typeof CONTRACT_KEYS)[number];
type GivenContract = Partial<Record<ContractKey, unknown>>;
type Refuse = (key: ContractKey, message: string) => null;

/**
 * Loads the definition of a contract without checking its packages.
 * @param load `loadSync` of the proto-loader to use
 * @throws GrpcConfigurationError if the files cannot be loaded
 */
export function loadDefinition(contract: GivenContract, path: string, load: typeof loadSync): PackageDefinition {
  const { problems, refuse } = problemsAt(path);
  const definition = definitionOf(contract, refuse, load);
  if (definition === null) throw new GrpcConfigurationError(problems);
  return definition;
}

function problemsAt(path: string): { readonly problems: ConfigurationProblem[]; readonly refuse: Refuse } {
  const problems: ConfigurationProblem[] = [];
  const refuse: Refuse = (key, message) => {
    problems.push({ path: pathOf(path, key), message });
    return null;
  };
  return { problems, refuse };
}

/** Loads a contract synchronously, like Nest. */
export function loadContract(contract: GivenContract, path: string): LoadedContract {
  const { problems, refuse } = problemsAt(path);
  const definition = definitionOf(contract, refuse);
  if (definition === null) return { ok: false, problems };
  // An empty list means all packages.
  const packages = [contract.package ?? []].flat().map(String);
  const all = servicesOf(definition);
  const known = new Set([...all.keys()].map(packageOf));
  if (known.size === 0) {
    const key = contract.protoPath === undefined ? 'packageDefinition' : 'protoPath';
    refuse(key, 'expected at least one service, got none');
  } else {
    for (const name of packages) if (!known.has(name)) refuse('package', unknownPackageMessage(name, known));
  }
  if (problems.length > 0) return { ok: false, problems };
  const chosen = [...all].filter(([name]) => packages.length === 0 || packages.includes(packageOf(name)));
  return { ok: true, services: new Map(chosen), definition };
}

/** Describes a package that is not in a definition. `packages` are those that have a service. */
export function unknownPackageMessage(name: string, packages: Iterable<string>): string {
  return `expected a package with a service, got '${name}'; known packages: ${quoted([...packages])}`;
}

/** True if `entry` is a message, an enum, or a service whose methods have the properties that a call needs. */
function isDefinitionEntry(entry: unknown): boolean {
  if (typeof entry !== 'object' || entry === null) return false;
  return typeof Reflect.get(entry, 'format') === 'string' || Object.values(entry).every(isMethodDefinition);
}

function isMethodDefinition(method: unknown): boolean {
  if (typeof method !== 'object' || method === null) return false;
  const { path, requestSerialize, responseDeserialize } = method as Partial<MethodDefinition<object, object>>;
  return (
    typeof path === 'string' && typeof requestSerialize === 'function' && typeof responseDeserialize === 'function'
  );
}

/** Returns the package of a full service name: 'orders.v1' for 'orders.v1.Orders'. */
export function packageOf(service: string): string {
  return service.slice(0, Math.max(service.lastIndexOf('.'), 0));
}

function definitionOf(contract: GivenContract, refuse: Refuse, load = loadSync): PackageDefinition | null {
  const { protoPath, packageDefinition, loader } = contract;
  const unusable = contractKeysProblem(contract);
  if (unusable !== undefined) return refuse(unusable.key, unusable.message);
  if (packageDefinition !== undefined) {
    // proto-loader's definition is an object of objects. The result of loadPackageDefinition() contains functions and is rejected.
    if (isObject(packageDefinition) && Object.values(packageDefinition).every(isDefinitionEntry))
      return packageDefinition as PackageDefinition;
    return refuse('packageDefinition', problemMessage("the result of proto-loader's loadSync()", packageDefinition));
  }
  const files: readonly unknown[] = Array.isArray(protoPath) ? protoPath : [protoPath];
  const options: Options = isObject(loader) ? loader : {};
  try {
    if (files.length === 0 || !files.every(isFilePath))
      return refuse('protoPath', problemMessage('a .proto file or an array of them', protoPath));
    return load([...files], options);
  } catch (error) {
    // Safe: the files up to the one that caused the error are strings.
    return refuse('protoPath', loadProblem(error, files as readonly string[], options.includeDirs ?? []));
  }
}

/** Returns the problem with a contract whose keys do not name exactly one definition; `undefined` if they do. */
export function contractKeysProblem({
  protoPath,
  packageDefinition,
}: GivenContract): { readonly key: 'protoPath' | 'packageDefinition'; readonly message: string } | undefined {
  if (protoPath !== undefined && packageDefinition !== undefined)
    return { key: 'packageDefinition', message: 'expected protoPath or packageDefinition, got both' };
  if (protoPath !== undefined || packageDefinition !== undefined) return undefined;
  return { key: 'protoPath', message: 'expected a .proto file, or packageDefinition, got nothing' };
}

/**
 * True if `path` may be the path of a file. Rejects a device and a pipe, because reading one might never end. Accepts the path of a missing
 * file, because the path may be relative to `loader.includeDirs`.
 */
function isFilePath(path: unknown): path is string {
  return typeof path === 'string' && path !== '' && statSync(path, { throwIfNoEntry: false })?.isFile() !== false;
}

/** Returns the problem with a contract that proto-loader could not load. */
function loadProblem(error: unknown, files: readonly string[], folders: readonly string[]): string {
  const missing = files.find((file) => ['', ...folders].every((folder) => !existsSync(resolve(folder, file))));
  if (missing === undefined)
    return `expected a valid .proto file, got "${errorMessage(error)}"; list the folders of its imports in loader.includeDirs`;
  const resolved = isAbsolute(missing) ? '' : ` (resolved to ${resolve(missing)})`;
  return `expected an existing file, got "${missing}"${resolved}; nest build copies a file only if "assets" in nest-cli.json lists it`;
}

function servicesOf(definition: PackageDefinition): Services {
  const services = new Map<string, ReadonlyMap<string, MethodDescriptor>>();
  for (const [name, entry] of Object.entries(definition)) {
    // Skips messages and enums, which have a string `format`. If a service has a method named `format`, the value is an object.
    if (typeof entry.format === 'string') continue;
    // An entry that is not a message or an enum is a service.
    const methods = entry as Readonly<Record<string, MethodDefinition<object, object>>>;
    services.set(
      name,
      new Map(Object.entries(methods).map(([method, made]) => [method, methodDescriptor(name, method, made)])),
    );
  }
  return services;
}

function methodDescriptor(
  service: string,
  method: string,
  definition: MethodDefinition<object, object>,
): MethodDescriptor {
  const { path, requestStream, responseStream, originalName, responseDeserialize } = definition;
  // Definitions that proto-loader did not create may have no options.
  const level = (definition.options as Partial<typeof definition.options> | undefined)?.idempotency_level;
  return Object.freeze<MethodDescriptor>({
    path,
    service,
    method,
    ...(originalName !== undefined && originalName !== method ? { alias: originalName } : {}),
    kind: kindOf(definition),
    requestStream,
    responseStream,
    declaredIdempotent: level === 'NO_SIDE_EFFECTS' || level === 'IDEMPOTENT',
    // The cast is safe: the serializer validates the message, and throws if the message is invalid.
    requestSerialize: definition.requestSerialize as (message: unknown) => Buffer,
    responseDeserialize,
    files: filesOf(definition),
  });
}

/**
 * Finds a service by short name ('Orders') or full name ('orders.v1.Orders'), and returns its full name.
 * @throws GrpcConfigurationError if the client has no such service, or several
 */
export function findService(services: Services, name: string, client: string): string {
  if (services.has(name)) return name;
  const known = [...services.keys()];
  const [service, ...others] = known.filter((full) => shortName(full) === name);
  if (service !== undefined && others.length === 0) return service;
  const meant = closest(name, [...known, ...known.map(shortName)]);
  const remedy = meant === undefined ? `known services: ${quoted(known)}` : `did you mean '${meant}'?`;
  const message =
    service === undefined
      ? `expected a service of the client, got '${name}'; ${remedy}`
      : `expected the full name of a service, got '${name}'; write one of ${quoted([service, ...others])}`;
  throw new GrpcConfigurationError([{ path: `clients.${client}`, message }]);
}

/** Returns the short name of a service: 'Orders' for 'orders.v1.Orders'. */
export function shortName(service: string): string {
  return service.slice(service.lastIndexOf('.') + 1);
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
