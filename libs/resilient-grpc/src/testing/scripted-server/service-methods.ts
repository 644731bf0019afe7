import type { MethodDefinition, Options, ServiceDefinition } from '@grpc/proto-loader';
import { loadContract } from '../../client/settings/contract.js';
import { closest } from '../../errors/closest.js';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';

/** Path of a scripted server in error messages. */
export const SCRIPTED_SERVER = 'ScriptedGrpcServer';

/** Options that define the services of a scripted server. */
export interface ServiceDefinitionOptions {
  /** Path or paths of the `.proto` files. */
  readonly protoPath: string | readonly string[];
  /** Package or packages whose services are loaded, as for clients. @defaultValue all */
  readonly package?: string | readonly string[] | undefined;
  /** Options of @grpc/proto-loader, as in Nest's `loader`. */
  readonly loader?: Options | undefined;
}

/** A method of a loaded proto. */
export type LoadedMethod = MethodDefinition<object, object>;

/** The methods of a scripted server, by path. */
type Methods = ReadonlyMap<string, LoadedMethod>;

/**
 * Loads all methods of the services that the options define, by path.
 * @throws GrpcConfigurationError if the proto cannot be loaded, or has no service in one of the packages
 */
export function loadMethods({ protoPath, package: name, loader }: ServiceDefinitionOptions): Methods {
  const loaded = loadContract({ protoPath, package: name, loader }, SCRIPTED_SERVER);
  if (!loaded.ok) throw new GrpcConfigurationError(loaded.problems);
  const methods = new Map<string, LoadedMethod>();
  for (const service of loaded.services.keys()) {
    // Safe cast: the name is that of a service.
    const definition = loaded.definition[service] as ServiceDefinition;
    for (const method of Object.values(definition)) methods.set(method.path, method);
  }
  return methods;
}

/**
 * Returns the method given as 'Get', 'get', 'Orders/Get', 'orders.v1.Orders/Get', or '/orders.v1.Orders/Get'.
 * @throws Error if `name` matches no method or several methods
 */
export function findMethod(methods: Methods, name: string): LoadedMethod {
  const wanted = name.replace(/^\//, '');
  const found = [...methods.values()].filter(({ path, originalName }) => {
    const full = path.slice(1);
    return full === wanted || full.endsWith(`/${wanted}`) || full.endsWith(`.${wanted}`) || originalName === wanted;
  });
  const [first] = found;
  if (first !== undefined && found.length === 1) return first;
  if (found.length > 1) {
    const paths = found.map(({ path }) => path).join(' or ');
    throw new Error(`ScriptedGrpcServer: '${name}' is the name of several methods; write ${paths}`);
  }
  const forms = [...methods.keys()].map((path) => path.slice(1).split(/[./]/));
  const meant = closest(
    wanted,
    forms.flatMap((parts) => [parts.slice(-1).join(), parts.slice(-2).join('/')]),
  );
  const remedy = meant === undefined ? `known methods: ${[...methods.keys()].join(', ')}` : `did you mean '${meant}'?`;
  throw new Error(`ScriptedGrpcServer: no method '${name}'; ${remedy}`);
}
