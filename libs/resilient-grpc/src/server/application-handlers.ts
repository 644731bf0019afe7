import { EventEmitter } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import type { Type } from '@nestjs/common';
import { MetadataScanner, type ApplicationConfig, type ModulesContainer } from '@nestjs/core';
import { ServerGrpc, GrpcMethodStreamingType } from '@nestjs/microservices';
import 'reflect-metadata';
import { Observable } from 'rxjs';
import { CALLED_BY_OTHERS } from '../client/service-stub.js';
import { type Services, packageOf, shortName } from '../client/settings/contract.js';
import type { MethodDescriptor } from '../call/method.js';
import type { EventFields } from '../telemetry/log/library-logger.js';
import { listed } from '../telemetry/log/log-text.js';

/** Pattern of a handler, as the gRPC decorators of Nest create it. */
export interface HandlerPattern {
  readonly service: string;
  readonly rpc: string;
  readonly streaming: GrpcMethodStreamingType;
}

const STREAMING_TYPES: ReadonlySet<unknown> = new Set(Object.values(GrpcMethodStreamingType));

/** The handlers that Nest registered for a server, with a record of the methods that they serve. */
export class ServedHandlers {
  /** Services of the definition. */
  defined: Services = new Map();
  /** Services of the definition that the server serves. */
  services: Services = new Map();
  /** Packages that the server serves, as in its options; '' and `undefined` for all. */
  packages: readonly (string | undefined)[] = [];
  /** True if the server has started. Before that, it may still add services and handlers. */
  isComplete = false;
  /** Handlers by the path of the method that they serve. One handler can serve the methods of several services. */
  private readonly serving = new Map<string, unknown>();

  /** @param registered Nest's handlers by pattern; also contains those of `@MessagePattern` and `@EventPattern` */
  constructor(private readonly registered: ReadonlyMap<string, unknown>) {}

  add(handler: unknown, path: string): void {
    this.serving.set(path, handler);
  }

  /** Returns the patterns of the gRPC handlers, each with a flag that is true if the handler serves a method. */
  patterns(): ReadonlyMap<string, { readonly pattern: HandlerPattern; readonly isServing: boolean }> {
    const found = new Map<string, { pattern: HandlerPattern; isServing: boolean }>();
    const serving = new Set(this.serving.values());
    for (const [route, handler] of this.registered) {
      const pattern = patternOf(route);
      if (pattern !== undefined) found.set(route, { pattern, isServing: serving.has(handler) });
    }
    return found;
  }

  unhandledPaths(): string[] {
    const methods = [...this.services.values()].flatMap((service) => [...service.values()]);
    return methods.map(({ path }) => path).filter((path) => !this.serving.has(path));
  }

  /** Returns the registered pattern of the handler that serves the method with `path`; `undefined` if no handler serves it. */
  routeOf(path: string): string | undefined {
    const serving = this.serving.get(path);
    for (const [route, handler] of this.registered) if (handler === serving) return route;
    return undefined;
  }

  /** Returns the names by which a handler can refer to a service: its full name, and its name relative to each served package. */
  namesOf(service: string): string[] {
    const prefixes = this.packages.map((name) => (name ? `${name}.` : ''));
    const relative = prefixes
      .filter((prefix) => service.startsWith(prefix))
      .map((prefix) => service.slice(prefix.length));
    return [...relative, service];
  }
}

/** Returns the pattern of a gRPC handler; `undefined` for the pattern of another decorator. */
function patternOf(route: string): HandlerPattern | undefined {
  if (!route.startsWith('{')) return undefined;
  let parsed: unknown;
  try {
    parsed = JSON.parse(route);
  } catch {
    return undefined;
  }
  return isHandlerPattern(parsed) ? parsed : undefined;
}

function isHandlerPattern(value: unknown): value is HandlerPattern {
  if (typeof value !== 'object' || value === null) return false;
  const { service, rpc, streaming } = value as Partial<Record<keyof HandlerPattern, unknown>>;
  return typeof service === 'string' && typeof rpc === 'string' && STREAMING_TYPES.has(streaming);
}

/** Key of the metadata in which Nest's decorators store the patterns of a handler. Nest does not export it. */
const PATTERN_METADATA = 'microservices:pattern';

/** Returns the gRPC servers that are connected to the application, including `Transport.GRPC` servers. */
export function connectedServers(modules: ModulesContainer): readonly ServerGrpc[] {
  const servers: ServerGrpc[] = [];
  // The subscription can end immediately, because the registry emits all servers synchronously.
  modules
    .getRpcTargetRegistry<unknown>()
    .subscribe((server) => {
      if (server instanceof ServerGrpc) servers.push(server);
    })
    .unsubscribe();
  return servers;
}

/** Returns the servers of class `type` that the application created, connected or not: one per `forRoot()`. */
export function createdServers<T extends ServerGrpc>(modules: ModulesContainer, type: Type<T>): readonly T[] {
  const servers = new Set<T>();
  for (const { providers } of modules.values()) {
    const instance: unknown = providers.get(type)?.instance;
    if (instance instanceof type) servers.add(instance);
  }
  return [...servers];
}

/** Names of the handlers of each pattern, such as 'OrdersController.get', in the sequence in which Nest registers them. */
export type HandlerNames = ReadonlyMap<string, readonly string[]>;

/** Returns the names of the gRPC handlers of the application. A handler that several controllers inherit or share has one name. */
export function handlerNames(modules: ModulesContainer): HandlerNames {
  const named = new Map<string, Map<object, string>>();
  for (const { controller, method, handler, routes } of grpcHandlers(modules)) {
    for (const route of routes) {
      const names = named.get(route) ?? new Map<object, string>();
      named.set(route, names);
      // A handler that is registered again moves to the end.
      names.delete(handler);
      names.set(handler, `${controller.name}.${method}`);
    }
  }
  return new Map([...named].map(([route, names]) => [route, [...names.values()]]));
}

/** Returns the handler methods of the application by pattern: of several with the same pattern, the one that Nest uses. */
export function handlersByRoute(modules: ModulesContainer): ReadonlyMap<string, object> {
  return new Map(
    [...grpcHandlers(modules)].flatMap(({ handler, routes }) => routes.map((route) => [route, handler] as const)),
  );
}

/** Classes of handler arguments that are no messages. */
const NO_MESSAGES: readonly (abstract new (...args: never[]) => object)[] = [
  Observable,
  EventEmitter,
  Metadata,
  AbortSignal,
];

const PARAMTYPES_METADATA = 'design:paramtypes';

/**
 * Hides the parameter types of gRPC handlers that are no messages from Nest's pipes. Given such a type, a ValidationPipe passes the handler
 * a copy of the stream or the metadata, and with `whitelist`, an empty copy.
 */
export function hideStreamTypes(modules: ModulesContainer): void {
  for (const { controller, method } of grpcHandlers(modules)) {
    const prototype = controller.prototype as object;
    const types: unknown = Reflect.getMetadata(PARAMTYPES_METADATA, prototype, method);
    if (!Array.isArray(types) || !types.some(isNoMessage)) continue;
    const hidden = types.map((type: unknown) => (isNoMessage(type) ? Object : type));
    Reflect.defineMetadata(PARAMTYPES_METADATA, hidden, prototype, method);
  }
}

/**
 * Returns the names of the controller methods that handle gRPC calls, but that `await` or Nest's lifecycle also call.
 */
export function handlersCalledByOthers(modules: ModulesContainer): string[] {
  const found = [...grpcHandlers(modules)].filter(({ method }) => CALLED_BY_OTHERS.includes(method));
  return found.map(({ controller, method }) => `${controller.name}.${method}`);
}

function isNoMessage(type: unknown): boolean {
  return typeof type === 'function' && NO_MESSAGES.some((one) => type === one || type.prototype instanceof one);
}

/**
 * Finds out whether the global guards, pipes, interceptors, and filters of a hybrid application run for the handlers of a server. Nest
 * passes them to a microservice only with `inheritAppConfig`, and otherwise omits them without a word.
 */
export class GlobalEnhancers {
  private isRead = false;
  private handlers = 0;
  private isInherited = false;
  /** Called when Nest is about to create a handler with global pipes, before it reads the handler's interceptors. */
  readonly whenPiped: (() => void)[] = [];

  constructor(private readonly config: ApplicationConfig) {
    // Nest reads the guards while it creates a handler.
    const read = config.getGlobalGuards.bind(config);
    config.getGlobalGuards = () => {
      this.isRead = true;
      if (config.getGlobalPipes().length + config.getGlobalRequestPipes().length > 0)
        this.whenPiped.forEach((add) => {
          add();
        });
      return read();
    };
  }

  /** Called when Nest has created a handler and adds it to the server. */
  handlerAdded(): void {
    // Before the first handler, Nest may have read the guards for HTTP routes.
    this.isInherited ||= this.isRead && this.handlers > 0;
    this.handlers += 1;
    if (this.handlers === 1) this.isRead = false;
  }

  /** Returns the kinds of the enhancers that do not run. */
  omitted(modules: ModulesContainer): string[] {
    const { config } = this;
    const controllers = [...modules.values()].flatMap((module) => [...module.controllers.values()]);
    if (this.isInherited || this.handlers < 2 || !controllers.every((one) => one.isDependencyTreeStatic())) return [];
    const counts = {
      guards: [config.getGlobalGuards(), config.getGlobalRequestGuards()],
      pipes: [config.getGlobalPipes(), config.getGlobalRequestPipes()],
      interceptors: [config.getGlobalInterceptors(), config.getGlobalRequestInterceptors()],
      filters: [config.getGlobalFilters(), config.getGlobalRequestFilters()],
    };
    return Object.entries(counts).flatMap(([kind, lists]) => (lists.flat().length > 0 ? [kind] : []));
  }
}

export interface GrpcHandler {
  readonly controller: Type;
  readonly method: string;
  readonly handler: object;
  readonly routes: readonly string[];
}

/** Yields the gRPC handlers of each controller of the application. */
export function* grpcHandlers(modules: ModulesContainer): Generator<GrpcHandler> {
  const scanner = new MetadataScanner();
  for (const { controllers } of modules.values()) {
    for (const { metatype } of controllers.values()) {
      if (typeof metatype !== 'function') continue;
      const prototype = metatype.prototype as object;
      for (const method of scanner.getAllMethodNames(prototype)) {
        const handler: unknown = Reflect.get(prototype, method);
        if (typeof handler !== 'function') continue;
        const patterns: unknown = Reflect.getMetadata(PATTERN_METADATA, handler);
        if (!Array.isArray(patterns)) continue;
        // Filtered before JSON.stringify(), because patterns of other decorators can be values that JSON does not support.
        const routes = patterns.filter(isHandlerPattern).map((pattern) => JSON.stringify(pattern));
        if (routes.length > 0) yield { controller: metatype as Type, method, handler, routes };
      }
    }
  }
}

const { NO_STREAMING, RX_STREAMING, PT_STREAMING } = GrpcMethodStreamingType;
const DECORATORS: Readonly<Record<GrpcMethodStreamingType, string>> = {
  [NO_STREAMING]: 'GrpcMethod',
  [RX_STREAMING]: 'GrpcStreamMethod',
  [PT_STREAMING]: 'GrpcStreamCall',
};

/** Servers of an application, and the names of its handlers. */
interface ApplicationHandlers {
  readonly servers: readonly ServedHandlers[];
  /** True if the application has a server whose services are unknown: a `Transport.GRPC` server, or one that is not connected. */
  readonly hasOtherServers: boolean;
  readonly names: HandlerNames;
}

/** A served method, and the shortest name by which a handler refers to its service. */
type ServedMethod = readonly [method: MethodDescriptor, service: string];

/**
 * Returns a line for each gRPC handler that serves no method of `servers`, and for each pattern with several handlers. Nest silently
 * ignores a handler that serves no method, and all handlers of a pattern except the last. If the application has other servers, omits
 * handlers of services that `servers` do not serve, because another server may serve them.
 */
export function unusedHandlerLines({ servers, hasOtherServers, names }: ApplicationHandlers): [string, EventFields][] {
  const lines: [string, EventFields][] = [];
  const patterns = servers.flatMap((server) => [...server.patterns()]);
  const matched = new Map(patterns.filter(([, { isServing }]) => isServing));
  for (const [route, { pattern }] of new Map(patterns)) {
    const { service, rpc: method } = pattern;
    const handlers = names.get(route) ?? [];
    const handler = handlers.at(-1);
    const services = servers.flatMap((server) =>
      [...server.services.keys()].filter((full) => server.namesOf(full).includes(service)),
    );
    const unused = listed(handlers.slice(0, -1));
    if (!matched.has(route)) {
      const problem =
        services.length > 0 || !hasOtherServers ? problemOf(pattern, servers, services[0], handler) : undefined;
      const text = `${decorator(pattern)}${handler === undefined ? '' : ` of ${handler}`} receives no calls: ${String(problem)}`;
      if (problem !== undefined) lines.push([text, { event: 'handler-unmatched', handler, service, method }]);
    } else if (unused !== '') {
      const full = listed([...new Set(services)].map((one) => decorator({ ...pattern, service: one })));
      const text =
        `${decorator(pattern)} of ${unused} receives no calls: ${String(handler)} has the same decorator and is registered later, ` +
        `so Nest uses it; keep only one handler${services.length > 1 ? `, or name the service of each in full: ${full}` : ''}`;
      lines.push([text, { event: 'handler-duplicate', handler, unused, service, method }]);
    }
  }
  return lines;
}

/** Returns the reason why a handler serves no method. `known` is the full name of its service if that is served. */
function problemOf(
  pattern: HandlerPattern,
  servers: readonly ServedHandlers[],
  known: string | undefined,
  handler: string | undefined,
): string {
  const { service, rpc, streaming } = pattern;
  const served = servedMethods(servers);
  const same = known === undefined ? undefined : served.get(`${service}/${rpc}`)?.[0];
  if (same !== undefined) {
    if (same.requestStream === (streaming !== NO_STREAMING))
      return `another handler serves ${same.path}; remove one of them`;
    const requests = same.requestStream ? 'streams its requests' : 'takes a single request';
    return `${same.path} ${requests}; write ${decoratorOf([same, service], pattern)}`;
  }
  const isNamed = (full: string): boolean => full === service || shortName(full) === service;
  const unserved = servers.flatMap(({ defined, services }) =>
    [...defined.keys()].filter((full) => !services.has(full) && isNamed(full)),
  );
  if (known === undefined && unserved[0] !== undefined)
    return `package '${packageOf(unserved[0])}' of its service is not served; add it to \`package\``;
  const isDefault = handler?.startsWith(`${service}.`) === true;
  const cause = isDefault ? ' (Nest uses the class name if the decorator names no service)' : '';
  const problem =
    known === undefined ? `no service '${service}' is served${cause}` : `service '${service}' has no method '${rpc}'`;
  if (served.size === 0)
    return `${problem}, because the server has no services; write the package of the service in \`package\``;
  const names = [...served].flatMap(([name, [one, itsService]]) => {
    if (known === undefined) return [`'${itsService}'`];
    return name.startsWith(`${service}/`) ? [`'${one.method}'`] : [];
  });
  return `${problem}; write one of ${known === undefined ? 'the served services' : 'its methods'}: ${listed([...new Set(names)])}`;
}

/** Returns the methods by the names under which a handler, or its author, looks for them: 'Orders/Get', 'orders.v1.Orders/Get'. */
function servedMethods(servers: readonly ServedHandlers[]): ReadonlyMap<string, ServedMethod> {
  const found = new Map<string, ServedMethod>();
  for (const server of servers) {
    for (const [full, methods] of server.services) {
      const names = server.namesOf(full);
      for (const method of methods.values()) {
        for (const name of [shortName(full), ...names]) {
          found.set(`${name}/${method.method}`, [method, names[0] ?? full]);
          if (method.alias !== undefined) found.set(`${name}/${method.alias}`, [method, names[0] ?? full]);
        }
      }
    }
  }
  return found;
}

/** Returns the decorator with both arguments, including those that the user omitted and Nest filled in. */
function decorator({ service, rpc, streaming }: HandlerPattern): string {
  return `@${DECORATORS[streaming]}('${service}', '${rpc}')`;
}

function decoratorOf([{ method, requestStream }, service]: ServedMethod, { streaming }: HandlerPattern): string {
  const fitting = streaming === NO_STREAMING ? RX_STREAMING : streaming;
  return decorator({ service, rpc: method, streaming: requestStream ? fitting : NO_STREAMING });
}
