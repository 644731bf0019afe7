import type { Metadata } from '@grpc/grpc-js';
import type { MethodDescriptor } from '../call/method.js';
import { callArguments } from './call-arguments.js';
import type { MethodContext } from './call-context.js';
import { CallExecution } from './call-execution.js';
import { argumentsInContext, sinkInContext } from './inbound-binding.js';
import { currentInbound, inboundInUse, inContextOf } from './inbound-context.js';
import type { AskedCall } from './prepared-call.js';
import { GrpcObservable } from '../call/grpc-observable.js';
import type { GrpcCallOptions, ResilientMethod } from './resilient-types.js';

/** A method of a stub. */
export interface StubbedMethod {
  readonly method: MethodDescriptor;
  /** As of now, for a call that begins: policies may change. */
  readonly contextOf: () => MethodContext;
}

/** The stub of a service: a function for each method, under the proto's name and, as in Nest, with a small first letter. */
export function serviceStub(
  methods: Iterable<StubbedMethod>,
): Readonly<Record<string, ResilientMethod<unknown, unknown>>> {
  const stub: Record<string, ResilientMethod<unknown, unknown>> = {};
  for (const { method, contextOf } of methods) {
    const name = method.method;
    const call = methodStub(contextOf);
    stub[name] = call;
    stub[lowerFirst(name)] ??= call;
    if (method.alias !== undefined) stub[method.alias] ??= call;
  }
  return Object.freeze(stub);
}

function methodStub(contextOf: () => MethodContext): ResilientMethod<unknown, unknown> {
  return (request: unknown, metadataOrOptions?: Metadata | GrpcCallOptions | null, options?: GrpcCallOptions) => {
    const asked: AskedCall = {
      request,
      given: argumentsInContext(callArguments(metadataOrOptions, options)),
      madeIn: inboundInUse() ? currentInbound() : undefined,
    };
    return new GrpcObservable<unknown>(
      (subscriber) => {
        const call = new CallExecution(contextOf(), asked, sinkInContext(subscriber, asked.madeIn));
        // What it begins with, a source of requests or an interceptor, belongs to the same.
        inContextOf(currentInbound() ?? asked.madeIn, () => {
          call.begin();
        });
        return call;
      },
      (sink) => new CallExecution(contextOf(), asked, sink),
    );
  };
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
