import type { MethodDefinition, Options, ServiceDefinition } from '@grpc/proto-loader';
import { loadContract } from '../../client/settings/contract.js';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';

/**
 * True if `name` means the method at `path`: 'Get', 'Orders/Get', 'orders.v1.Orders/Get', or '/orders.v1.Orders/Get', with the method's
 * first letter in either case.
 */
export function isNameOf(path: string, name: string): boolean {
  const wanted = withUpperFirst(`/${name}`.replace('//', '/'));
  const called = withUpperFirst(path);
  return called.endsWith(wanted) || called.endsWith(wanted.replace('/', '.'));
}

function withUpperFirst(path: string): string {
  const start = path.lastIndexOf('/') + 1;
  return path.slice(0, start) + path.charAt(start).toUpperCase() + path.slice(start + 1);
}

export const SCRIPTED_SERVER = 'ScriptedGrpcServer';

export interface ServiceDefinitionOptions {
  readonly protoPath: string | readonly string[];
  /** Package or packages whose services are loaded, as for clients. @defaultValue all */
  readonly package?: string | readonly string[] | undefined;
  /** Options of @grpc/proto-loader, as in Nest's `loader`. */
  readonly loader?: Options | undefined;
}

export type LoadedMethod = MethodDefinition<object, object>;

/**
 * Loads all methods of the services that the options define.
 * @throws GrpcConfigurationError if the proto cannot be loaded, or has no service in one of the packages
 */
export function loadMethods({ protoPath, package: name, loader }: ServiceDefinitionOptions): readonly LoadedMethod[] {
  const loaded = loadContract({ protoPath, package: name, loader }, SCRIPTED_SERVER);
  if (!loaded.ok) throw new GrpcConfigurationError(loaded.problems);
  // Safe cast: the name is that of a service.
  return [...loaded.services.keys()].flatMap((name) => Object.values(loaded.definition[name] as ServiceDefinition));
}

/**
 * Returns the method given as 'Get', 'get', 'Orders/Get', 'orders.v1.Orders/Get', or '/orders.v1.Orders/Get'.
 * @throws Error if `name` matches no method or several methods
 */
export function findMethod(methods: readonly LoadedMethod[], name: string): LoadedMethod {
  const found = methods.filter(({ path }) => isNameOf(path, name));
  const [first, ...others] = found;
  if (first !== undefined && others.length === 0) return first;
  const listed = (first === undefined ? methods : found).map(({ path }) => path);
  const problem =
    first === undefined ? `no method '${name}'; known methods:` : `several methods '${name}'; write one of`;
  throw new Error(`${SCRIPTED_SERVER}: ${problem} ${listed.join(', ')}`);
}
