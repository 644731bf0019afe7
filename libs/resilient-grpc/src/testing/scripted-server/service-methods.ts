import { loadSync } from '@grpc/proto-loader';
import type { MethodDefinition, Options } from '@grpc/proto-loader';
import { closest } from '../../errors/closest.js';

/** Options that define the services of a scripted server. */
export interface ServiceDefinitionOptions {
  readonly protoPath: string | readonly string[];
  /** Package or packages whose services are loaded. @defaultValue all */
  readonly package?: string | readonly string[] | undefined;
  /** Options of @grpc/proto-loader, as in Nest's `loader`. */
  readonly loader?: Options | undefined;
}

/** A method of a loaded proto. */
export type LoadedMethod = MethodDefinition<object, object>;

/**
 * Loads all methods of the services of `source`, by path.
 * @throws Error if the proto cannot be read or has no service in the given packages
 */
export function loadMethods(source: ServiceDefinitionOptions): ReadonlyMap<string, LoadedMethod> {
  const files = typeof source.protoPath === 'string' ? source.protoPath : [...source.protoPath];
  const packages = source.package === undefined ? undefined : [source.package].flat();
  const methods = new Map<string, LoadedMethod>();
  for (const [name, definition] of Object.entries(loadSync(files, source.loader))) {
    // Messages and enums have a `format`; services do not.
    if ('format' in definition) continue;
    if (packages !== undefined && !packages.some((one) => name.startsWith(`${one}.`))) continue;
    for (const method of Object.values(definition)) methods.set(method.path, method);
  }
  if (methods.size === 0) {
    throw new Error(
      `ScriptedGrpcServer: expected a service in ${String(source.protoPath)}${packages ? `, package ${String(packages)}` : ''}; found none`,
    );
  }
  return methods;
}

/**
 * Returns the path of a method given as 'Get', 'get', 'Orders/Get', 'orders.v1.Orders/Get', or '/orders.v1.Orders/Get'.
 * @throws Error if `name` matches no method or several methods
 */
export function findPath(methods: ReadonlyMap<string, LoadedMethod>, name: string): string {
  const wanted = name.replace(/^\//, '');
  const found = [...methods.values()].filter(({ path, originalName }) => {
    const full = path.slice(1);
    return full === wanted || full.endsWith(`/${wanted}`) || full.endsWith(`.${wanted}`) || originalName === wanted;
  });
  const [first] = found;
  if (first !== undefined && found.length === 1) return first.path;
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
