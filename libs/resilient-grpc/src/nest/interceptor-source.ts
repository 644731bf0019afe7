import { Scope, type Type } from '@nestjs/common';
import type { ModuleRef } from '@nestjs/core';
import type { InterceptorSource } from '../client/interceptors/call-hooks.js';
import type { GrpcClientInterceptor, GrpcClientInterceptorClass } from '../client/interceptors/outgoing-call.js';

/**
 * Takes interceptors from the application's container, from whichever module provides them.
 * @throws Error where the container has none, or one for each request
 */
export function interceptorSource(moduleRef: ModuleRef): InterceptorSource {
  return (type) => {
    const scope = scopeOf(moduleRef, type);
    if (scope === undefined) {
      throw new Error(`no module provides ${type.name}; write it into the providers of one, or give an instance`);
    }
    if (scope !== Scope.DEFAULT) {
      const kind = scope === Scope.REQUEST ? 'request-scoped (itself, or something it injects is)' : 'transient';
      throw new Error(
        `${type.name} is ${kind}, and a client is one for all requests; make it a singleton, and read what belongs to a request from call.inbound`,
      );
    }
    // True: Nest asks for a class that can be made, and an abstract one may be provided as well.
    return moduleRef.get(type as unknown as Type<GrpcClientInterceptor>, { strict: false });
  };
}

function scopeOf(moduleRef: ModuleRef, type: GrpcClientInterceptorClass): Scope | undefined {
  try {
    return moduleRef.introspect(type as unknown as Type<GrpcClientInterceptor>).scope;
  } catch {
    return undefined;
  }
}
