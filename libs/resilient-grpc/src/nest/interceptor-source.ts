import { Scope, type Type } from '@nestjs/common';
import type { ModuleRef } from '@nestjs/core';
import type { InterceptorSource } from '../client/interceptors/call-hooks.js';
import type { GrpcClientInterceptor, GrpcClientInterceptorClass } from '../client/interceptors/outgoing-call.js';

/**
 * Returns a function that resolves interceptors from the application's container, whichever module provides them. The function throws an
 * error if the container does not provide an interceptor as a singleton.
 */
export function interceptorSource(moduleRef: ModuleRef): InterceptorSource {
  return (type) => {
    const scope = scopeOf(moduleRef, type);
    if (scope === undefined) {
      throw new Error(`no module provides ${type.name}; add it to the providers of a module, or pass an instance`);
    }
    if (scope !== Scope.DEFAULT) {
      const kind = scope === Scope.REQUEST ? 'request-scoped (or injects a request-scoped provider)' : 'transient';
      throw new Error(
        `${type.name} is ${kind}, but all requests share one client; make the interceptor a singleton, and read request data from call.inbound`,
      );
    }
    // The cast is needed because Nest expects a concrete class, although an abstract class can be provided, too.
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
