import { EventEmitter } from 'node:events';
import { Metadata } from '@grpc/grpc-js';
import type { Type } from '@nestjs/common';
import { MetadataScanner, type ApplicationConfig, type ModulesContainer } from '@nestjs/core';
import { ServerGrpc } from '@nestjs/microservices';
import 'reflect-metadata';
import { Observable } from 'rxjs';
import { CALLED_BY_OTHERS } from '../client/service-stub.js';
import { isHandlerPattern } from './served-handlers.js';

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

/**
 * Names of the handlers of each pattern, such as 'OrdersController.get', in the sequence in which Nest registers them. Nest keeps only the
 * last handler of a pattern.
 */
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

  constructor(private readonly config: ApplicationConfig) {
    // Nest reads the guards while it creates a handler.
    const read = config.getGlobalGuards.bind(config);
    config.getGlobalGuards = () => {
      this.isRead = true;
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

  /**
   * Returns the kinds of the enhancers that do not run. Empty if there is a single handler, and if a handler is created per request, because
   * nothing can be concluded then.
   */
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

interface GrpcHandler {
  readonly controller: Type;
  readonly method: string;
  readonly handler: object;
  readonly routes: readonly string[];
}

/** Yields the gRPC handlers of each controller of the application. */
function* grpcHandlers(modules: ModulesContainer): Generator<GrpcHandler> {
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
