import type { Metadata } from '@grpc/grpc-js';
import { GrpcObservable } from '../call/grpc-observable.js';
import type { MethodDescriptor } from '../call/method.js';
import { currentStreamScope, type StreamScope } from '../call/stream-scope.js';
import type { OpenStream } from '../call/stream-source.js';
import { placeInApplication } from './code-place.js';
import { callArguments } from './call-arguments.js';
import type { MethodContext } from './call-context.js';
import { CallExecution } from './call-execution.js';
import { argumentsInContext, sinkInContext } from './inbound-binding.js';
import { currentInbound, inboundInUse } from './inbound-context.js';
import type { AskedCall } from './prepared-call.js';
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
  tracesStreams: boolean,
): Readonly<Record<string, ResilientMethod<unknown, unknown>>> {
  const stub: Record<string, ResilientMethod<unknown, unknown>> = {};
  for (const { method, contextOf } of methods) {
    const name = method.method;
    const call = methodStub(method, contextOf, tracesStreams);
    stub[name] = call;
    stub[lowerFirst(name)] ??= call;
    if (method.alias !== undefined) stub[method.alias] ??= call;
  }
  return Object.freeze(stub);
}

function methodStub(
  method: MethodDescriptor,
  contextOf: () => MethodContext,
  tracesStreams: boolean,
): ResilientMethod<unknown, unknown> {
  return (request: unknown, metadataOrOptions?: Metadata | GrpcCallOptions | null, options?: GrpcCallOptions) => {
    const asked: AskedCall = {
      request,
      openedAt: tracesStreams && method.kind !== 'unary' ? placeInApplication() : undefined,
      given: argumentsInContext(callArguments(metadataOrOptions, options)),
      madeIn: inboundInUse() ? currentInbound() : undefined,
    };
    const open: OpenStream<unknown> = (sink) =>
      new CallExecution(contextOf(), asked, sinkInContext(sink, asked.madeIn), scopeOf(method));
    return new GrpcObservable<unknown>((subscriber) => {
      const call = open(subscriber);
      call.begin();
      return call;
    }, open);
  };
}

/** A call that answers once is no part of a stream, though it be made while one begins: the factory may ask for a token first. */
function scopeOf({ responseStream }: MethodDescriptor): StreamScope | undefined {
  return responseStream ? currentStreamScope() : undefined;
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
