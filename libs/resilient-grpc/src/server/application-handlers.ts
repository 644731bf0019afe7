import { MetadataScanner, type ModulesContainer } from '@nestjs/core';
import { ServerGrpc } from '@nestjs/microservices';
import 'reflect-metadata';
import { isHandlerPattern } from './served-handlers.js';

/** Key of the metadata in which Nest's decorators store the patterns of a handler. Nest does not export it. */
const PATTERN_METADATA = 'microservices:pattern';

/** Returns the gRPC servers that are connected to the application, including `Transport.GRPC` servers. */
export function connectedServers(modules: ModulesContainer): readonly ServerGrpc[] {
  const servers: ServerGrpc[] = [];
  // The registry emits all servers synchronously.
  modules
    .getRpcTargetRegistry<unknown>()
    .subscribe((server) => {
      if (server instanceof ServerGrpc) servers.push(server);
    })
    .unsubscribe();
  return servers;
}

/** Returns the class and method of each gRPC handler of the application, such as 'OrdersController.get', by pattern. */
export function handlerNames(modules: ModulesContainer): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
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
        // Patterns of other decorators can be values that JSON does not support.
        for (const pattern of patterns.filter(isHandlerPattern)) {
          names.set(JSON.stringify(pattern), `${metatype.name}.${method}`);
        }
      }
    }
  }
  return names;
}
