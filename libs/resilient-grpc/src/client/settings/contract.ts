import { existsSync, statSync } from 'node:fs';
import { isAbsolute, resolve } from 'node:path';
import { loadSync, type MethodDefinition, type Options, type PackageDefinition } from '@grpc/proto-loader';
import { kindOf, type MethodDescriptor } from '../../call/method.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { describeValue, pathOf } from '../../policy/options/describe-value.js';
import { unreadable } from './copy-options.js';
import { errorMessage, isError } from '../../errors/error-message.js';
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
/** A contract before its validation. */
type GivenContract = Partial<Record<ContractKey, unknown>>;
/** Adds a problem with the value at `key`, or with its entry at `index`. */
type Refuse = (key: ContractKey, message: string, index?: number) => null;

/** Loads a contract synchronously, like Nest. */
export function loadContract(contract: GivenContract, path: string): LoadedContract {
  try {
    return loadChecked(contract, path);
  } catch (error) {
    // A getter or a proxy threw, in a definition that proto-loader did not create.
    return { ok: false, problems: [unreadable(pathOf(path, 'packageDefinition'), error)] };
  }
}

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

/** Returns an empty list of problems, and the function that adds to it. */
function problemsAt(path: string): { readonly problems: ConfigurationProblem[]; readonly refuse: Refuse } {
  const problems: ConfigurationProblem[] = [];
  const refuse: Refuse = (key, message, index) => {
    const at = pathOf(path, key);
    problems.push({ path: index === undefined ? at : pathOf(at, index), message });
    return null;
  };
  return { problems, refuse };
}

function loadChecked(contract: GivenContract, path: string): LoadedContract {
  const { problems, refuse } = problemsAt(path);
  const definition = definitionOf(contract, refuse);
  const requested = packagesOf(contract.package, refuse);
  if (definition === null || requested === null) return { ok: false, problems };

  const all = servicesOf(definition);
  const names = [...all.keys()];
  if (names.length === 0) {
    const { protoPath } = contract;
    const key = protoPath === undefined ? 'packageDefinition' : 'protoPath';
    // The cast is safe: definitionOf() has validated the files.
    const where = protoPath === undefined ? '' : ` in ${quoted([protoPath].flat() as string[])}`;
    refuse(key, `expected at least one service${where}, got none; pass a file that defines one`);
    return { ok: false, problems };
  }
  const packages = new Set(names.map(packageOf));
  for (const [index, name] of requested.names.entries()) {
    if (packages.has(name)) continue;
    refuse('package', unknownPackageMessage(name, packages), requested.list ? index : undefined);
  }
  if (problems.length > 0) return { ok: false, problems };
  if (requested.names.length === 0) return { ok: true, services: all, definition };
  const chosen = [...all].filter(([name]) => requested.names.includes(packageOf(name)));
  return { ok: true, services: new Map(chosen), definition };
}

/** Describes a package that is not in a definition. `packages` are those that have a service. */
export function unknownPackageMessage(name: string, packages: Iterable<string>): string {
  const meant = closest(name, packages);
  const remedy = meant === undefined ? `known packages: ${quoted([...packages])}` : `did you mean '${meant}'?`;
  return `expected a package with a service, got '${name}'; ${remedy}`;
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
    if (typeof packageDefinition === 'object' && packageDefinition !== null) {
      const entries: readonly unknown[] = Object.values(packageDefinition);
      // proto-loader's definition is an object of objects. The result of loadPackageDefinition() contains functions and is rejected.
      if (entries.every(isDefinitionEntry)) return packageDefinition as PackageDefinition;
    }
    return refuse(
      'packageDefinition',
      `expected the result of proto-loader's loadSync(), got ${describeValue(packageDefinition)}; do not pass it through grpc-js's loadPackageDefinition()`,
    );
  }
  const files: readonly unknown[] = Array.isArray(protoPath) ? protoPath : [protoPath];
  if (files.length === 0 || !files.every((file) => typeof file === 'string' && file !== '')) {
    const found = describeValue(protoPath);
    return refuse('protoPath', `expected a .proto file or an array of them, got ${found}; write 'orders.proto'`);
  }
  // Rejects paths that are not regular files, because reading a device or a pipe might never end.
  const device = (files as readonly string[]).find(isNotRegularFile);
  if (device !== undefined) {
    const found = `${describeValue(device)}, which is a device, a pipe, or a folder`;
    return refuse('protoPath', `expected a .proto file, got ${found}; write 'orders.proto'`);
  }
  if (loader !== undefined && (typeof loader !== 'object' || loader === null)) {
    return refuse('loader', `expected proto-loader options, got ${describeValue(loader)}; write { longs: String }`);
  }
  // The casts are safe: the values were validated above.
  const [paths, options] = [files as string[], loader as Options | undefined];
  try {
    return load(protoPath as string | string[], options);
  } catch (error) {
    return refuse('protoPath', loadProblem(error, paths, options?.includeDirs ?? []));
  }
}

/** Returns the problem with a contract whose keys do not name exactly one definition; `undefined` if they do. */
export function contractKeysProblem({
  protoPath,
  packageDefinition,
}: GivenContract): { readonly key: 'protoPath' | 'packageDefinition'; readonly message: string } | undefined {
  if (protoPath !== undefined && packageDefinition !== undefined)
    return { key: 'packageDefinition', message: 'expected protoPath or packageDefinition, got both; keep one' };
  if (protoPath !== undefined || packageDefinition !== undefined) return undefined;
  const message = "expected a .proto file, got nothing; write protoPath: 'orders.proto', or packageDefinition";
  return { key: 'protoPath', message };
}

/** True if `path` is a device, a pipe, or a folder. False if it does not exist, because it may be relative to `loader.includeDirs`. */
function isNotRegularFile(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isFile() === false;
  } catch {
    // proto-loader reports the error.
    return false;
  }
}

/** Returns the problem with a contract that proto-loader could not load. */
function loadProblem(error: unknown, files: readonly string[], folders: readonly string[]): string {
  const text = errorMessage(error);
  if (!(isError(error) && 'code' in error && error.code === 'ENOENT'))
    return `expected a valid .proto file, got "${text}"${text.includes('.proto') ? '' : ` in ${quoted(files)} or an imported file`}; correct the file${/\bline \d/.test(text) ? ' at that line' : ''}`;
  const missing = files.find((file) => ['', ...folders].every((folder) => !existsSync(resolve(folder, file))));
  if (missing === undefined)
    return `expected existing imports, got "${text}"; add the folders that contain the imports to loader.includeDirs`;
  const got = `"${missing}"`;
  if (missing.startsWith('file:'))
    return `expected a path, got the URL ${got}; write fileURLToPath('${missing}'), imported from node:url`;
  const resolved = isAbsolute(missing) ? '' : ` (resolved to ${resolve(missing)})`;
  return `expected an existing file, got ${got}${resolved}; write an absolute path such as join(__dirname, 'orders.proto') (in ES modules, import.meta.dirname); if nest build must copy the file, keep it in src/ and add "assets": ["**/*.proto"] to compilerOptions in nest-cli.json (for a file in a Nest library, also list the library in "includeLibraryAssets", or write a path relative to process.cwd())`;
}

function packagesOf(
  value: unknown,
  refuse: Refuse,
): { readonly names: readonly string[]; readonly list: boolean } | null {
  if (value === undefined) return { names: [], list: false };
  if (typeof value === 'string') return { names: [value], list: false };
  const names: readonly unknown[] = Array.isArray(value) ? value : [];
  if (names.length > 0 && names.every((name) => typeof name === 'string')) return { names, list: true };
  const remedy = "write 'orders.v1', or omit it for all packages";
  return refuse('package', `expected a package or an array of them, got ${describeValue(value)}; ${remedy}`);
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
  definition: Pick<
    MethodDefinition<object, object>,
    'path' | 'requestStream' | 'responseStream' | 'requestSerialize' | 'responseDeserialize'
  > & { readonly originalName?: string | undefined; readonly options?: object | undefined },
): MethodDescriptor {
  const { requestStream, responseStream, originalName } = definition;
  // Definitions that proto-loader did not create may have no options.
  const options = definition.options as { readonly idempotency_level?: unknown } | undefined;
  const level = options?.idempotency_level;
  return Object.freeze<MethodDescriptor>({
    path: definition.path,
    service,
    method,
    ...(originalName !== undefined && originalName !== method ? { alias: originalName } : {}),
    kind: kindOf(definition),
    requestStream,
    responseStream,
    declaredIdempotent: level === 'NO_SIDE_EFFECTS' || level === 'IDEMPOTENT',
    // The cast is safe: the serializer validates the message, and throws if the message is invalid.
    requestSerialize: definition.requestSerialize as (message: unknown) => Buffer,
    responseDeserialize: definition.responseDeserialize,
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
  const path = `clients.${client}`;
  if (service !== undefined) {
    const message = `expected the full name of a service, got '${name}', which is in several packages; write one of ${quoted([service, ...others])}`;
    throw new GrpcConfigurationError([{ path, message }]);
  }
  const meant = closest(name, [...known, ...known.map(shortName)]);
  const remedy = meant === undefined ? `known services: ${quoted(known)}` : `did you mean '${meant}'?`;
  throw new GrpcConfigurationError([{ path, message: `expected a service of the client, got '${name}'; ${remedy}` }]);
}

/** Returns the short name of a service: 'Orders' for 'orders.v1.Orders'. */
export function shortName(service: string): string {
  return service.slice(service.lastIndexOf('.') + 1);
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
