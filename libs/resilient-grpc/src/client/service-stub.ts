import type { Metadata } from '@grpc/grpc-js';
import type { Subscriber } from 'rxjs';
import { GrpcObservable } from '../call/grpc-observable.js';
import type { MethodDescriptor } from '../call/method.js';
import {
  currentStreamScope,
  inStreamScope,
  type StreamScope,
  sinkWithin,
  type StreamFactory,
  type StreamSink,
} from '../call/stream-source.js';
import type { AwaitedCalls } from './awaited-calls.js';
import { applicationCallSite } from './caller/call-site.js';
import { callArguments, NO_ARGUMENTS } from './calls/call-arguments.js';
import type { MethodContext } from './call-context.js';
import { ClientCall } from './calls/client-call.js';
import { currentCallerContext } from './caller/caller-context.js';
import { argumentsInContext } from './calls/inbound-binding.js';
import type { CallInput } from './calls/prepare-call.js';
import { ScopedStream } from './calls/scoped-stream.js';
import type { GrpcCallOptions, ResilientMethod } from './resilient-types.js';

export interface StubbedMethod {
  readonly method: MethodDescriptor;
  /** Returns the context for a call that starts now. Policies may change between calls. */
  readonly contextOf: () => MethodContext;
}

/**
 * Creates the stub of a service. It has a function for each method, under up to three names: the proto name, that name with a lowercase
 * first letter as in Nest, and proto-loader's `originalName`.
 */
export function serviceStub(
  methods: Iterable<StubbedMethod>,
  awaited?: AwaitedCalls,
): Readonly<Record<string, ResilientMethod<unknown, unknown>>> {
  const stub: Record<string, ResilientMethod<unknown, unknown>> = {};
  for (const { method, contextOf } of methods) {
    const name = method.method;
    const call = methodStub(method, contextOf, awaited);
    stub[name] = call;
    stub[lowerFirst(name)] ??= call;
    if (method.alias !== undefined) stub[method.alias] ??= call;
  }
  for (const name of CALLED_BY_OTHERS) {
    const call = stub[name];
    if (call !== undefined) stub[name] = calledByOthers(call, stub);
  }
  return stub;
}

/** Names that `await` and Nest's lifecycle call on any object: `then` with functions, and hooks with a signal or nothing. */
export const CALLED_BY_OTHERS = [
  'then',
  'onModuleInit',
  'onApplicationBootstrap',
  'onModuleDestroy',
  'beforeApplicationShutdown',
  'onApplicationShutdown',
];

/** Returns a function that makes a call only if it receives a request. */
function calledByOthers(
  call: ResilientMethod<unknown, unknown>,
  stub: Readonly<Record<string, unknown>>,
): ResilientMethod<unknown, unknown> {
  // The casts are safe: only `await` passes a function, and it and Nest expect no call.
  return ((request: unknown, ...rest: never[]) => {
    if (typeof request === 'function') (request as (stub: object) => void)({ Then: call, ...stub, then: undefined });
    return typeof request === 'object' ? call(request, ...rest) : undefined;
  }) as ResilientMethod<unknown, unknown>;
}

/** Creates the function that calls one method. `awaited` reports calls that are awaited but not subscribed to; absent in production. */
export function methodStub(
  method: MethodDescriptor,
  contextOf: () => MethodContext,
  awaited?: AwaitedCalls,
): ResilientMethod<unknown, unknown> {
  return (request: unknown, metadataOrOptions?: Metadata | GrpcCallOptions | null, options?: GrpcCallOptions) => {
    const isPlain = metadataOrOptions === undefined && options === undefined;
    const given = isPlain ? NO_ARGUMENTS : callArguments(metadataOrOptions, options);
    const createdIn = currentCallerContext();
    const input: CallInput = {
      request,
      openedAt: method.kind !== 'unary' && contextOf().client.unread.traces ? applicationCallSite() : undefined,
      given: createdIn === undefined ? given : argumentsInContext(given),
      createdIn,
    };
    const subscribe = (subscriber: Subscriber<unknown>): ClientCall => {
      const scope = currentStreamScope();
      const context = contextOf();
      const call =
        scope === undefined
          ? new ClientCall(context, input, subscriber)
          : callInScope(context, input, subscriber, scope);
      call.begin();
      return call;
    };
    const openStream: StreamFactory<unknown> = (sink, scope) =>
      new ClientCall(contextOf(), input, sink, scope === undefined ? undefined : { scope, isDirect: true });
    return awaited === undefined
      ? new GrpcObservable<unknown>(subscribe, openStream)
      : awaited.create(method.path, subscribe, openStream);
  };
}

/**
 * Creates a call that is subscribed to while `scope`, a stream of several calls, starts or resumes. A response stream becomes part of
 * `scope`, even with operators around the response stream. A unary or client-streaming call, such as a token request, does not become part
 * of `scope`. Its client registers `scope` anyway, because the response stream of `scope` may start only after this call has received its
 * response.
 */
function callInScope(
  context: MethodContext,
  input: CallInput,
  sink: StreamSink<unknown>,
  scope: StreamScope,
): ClientCall {
  if (context.method.responseStream) return new ClientCall(context, input, sink, { scope, isDirect: false });
  ScopedStream.of(scope, context, input.openedAt);
  return new ClientCall(
    context,
    input,
    sinkWithin(sink, (work) => inStreamScope(scope, work)),
  );
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
