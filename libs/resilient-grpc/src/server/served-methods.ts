import { GrpcMethodStreamingType } from '@nestjs/microservices';
import { kindOf } from '../call/method.js';
import type { Services } from '../client/settings/contract.js';
import { PassThroughCall } from './calls/pass-through-call.js';
import { GrpcRequestStream } from './calls/request-stream.js';
import { ResponseStreamCall } from './calls/response-stream-call.js';
import type { ServedCall, ServedHandler, ServedMethod } from './calls/served-call.js';
import type { ServerCalls } from './calls/server-calls.js';
import { ServiceTime } from '../policy/overload/service-time.js';
import { UnaryCall } from './calls/unary-call.js';
import { endStream, errorOf, type AnswerCallback, type ReadableCall, type WireCall } from './calls/wire-call.js';
import { StatusCode } from '../status/status-code.js';
import type { ConcurrencyLimit, ServeNext } from './overload/concurrency-limit.js';
import type { OverloadGate } from './overload/overload-gate.js';
import type { ResolvedServerOptions } from './server-options.js';

/** Method of a service definition that grpc-js loaded. */
export interface NativeMethod {
  /** Path of the method, such as '/orders.v1.Orders/Get'. */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  responseSerialize(message: unknown): Uint8Array;
}

/** Function that grpc-js runs for each call to a method. */
export type MethodImplementation = (call: WireCall, callback?: AnswerCallback) => void;

/** Returns the implementation for a method that has no handler. grpc-js's own implementation names the method without its service. */
export function unimplemented({
  path,
  responseStream,
}: Pick<NativeMethod, 'path' | 'responseStream'>): MethodImplementation {
  const status = { code: StatusCode.UNIMPLEMENTED, details: `The server does not implement the method ${path}` };
  return (wire, callback) => {
    if (responseStream) endStream(wire, status);
    else callback?.(errorOf(status));
  };
}

/** Hook for the start of a call. The returned function is called at the end of the call's handler. */
export type CallHook = (call: WireCall) => (() => void) | undefined;

/** Returns the `services` that Nest serves: those in `packages` and their subpackages, or all if `packages` names no package. */
export function servedServices(services: Services, packages: string | readonly string[] | undefined): Services {
  const names: readonly (string | undefined)[] = Array.isArray(packages) ? packages : [packages];
  const isServed = (service: string) => names.some((name) => !name || service.startsWith(`${name}.`));
  return new Map([...services].filter(([service]) => isServed(service)));
}

/** Returns the served method for a method of grpc-js. */
export function servedMethod(
  native: NativeMethod,
  handler: ServedHandler,
  options: ResolvedServerOptions,
): ServedMethod {
  const [, service = '', method = ''] = native.path.split('/');
  return {
    path: native.path,
    kind: kindOf(native),
    options: options.methodOptions(service, method),
    handler,
    serviceTime: new ServiceTime(),
    serialize: (message) => native.responseSerialize(message),
  };
}

/** The server-side dependencies of a method. */
export interface MethodRuntime {
  readonly calls: ServerCalls;
  /** Runs the handlers of unary calls. */
  readonly gate: OverloadGate;
  /** Limits of the concurrent unary calls of the method and of the server, in this order. */
  readonly limits: readonly ConcurrencyLimit[];
  readonly onCall: CallHook | undefined;
}

/** Returns the implementation of a method for grpc-js. */
export function implementationOf(
  method: ServedMethod,
  streaming: GrpcMethodStreamingType,
  { calls, gate, limits, onCall }: MethodRuntime,
): MethodImplementation {
  const { kind } = method;
  if (streaming === GrpcMethodStreamingType.PT_STREAMING) {
    // Only the handler reads and writes the messages of such a stream, so an idle timeout cannot apply.
    const own = { ...method, options: { ...method.options, maxStreamIdleMs: undefined } };
    return (wire, callback) => {
      const answer = kind === 'bidi' ? undefined : callback;
      const call = new PassThroughCall(wire, answer, own, calls, onCall?.(wire));
      if (admit(call, calls)) call.serve();
    };
  }
  const serve = serveNext(isGated(method, streaming) ? gate : undefined, kind === 'unary' ? limits : []);
  const streamsRequests = kind === 'client-stream' || kind === 'bidi';
  const streamsResponses = kind === 'server-stream' || kind === 'bidi';
  return (wire, callback) => {
    const call = streamsResponses
      ? new ResponseStreamCall(wire, method, calls, onCall?.(wire))
      : new UnaryCall(wire, requireCallback(callback), method, calls, onCall?.(wire));
    if (!admit(call, calls)) return;
    // The cast is safe: grpc-js's calls with a request stream are readable.
    const request = streamsRequests ? new GrpcRequestStream(wire as ReadableCall, call) : wire.request;
    serve(call, request);
  };
}

/** True if the gate runs the handlers of a method. It does not run `@GrpcStreamCall` handlers, which respond to their calls themselves. */
export function isGated({ kind, options }: ServedMethod, streaming: GrpcMethodStreamingType): boolean {
  return kind === 'unary' && streaming !== GrpcMethodStreamingType.PT_STREAMING && options.overloadProtection;
}

/** Returns the function that passes a call through each of the `limits`, then through the gate if there is one, to its handler. */
function serveNext(gate: OverloadGate | undefined, limits: readonly ConcurrencyLimit[]): ServeNext {
  const run: ServeNext =
    gate === undefined
      ? (call, request) => {
          call.serve(request);
        }
      : (call, request) => {
          gate.serve(call, request);
        };
  return limits.reduceRight<ServeNext>((next, limit) => {
    // Each limit has its own `ServiceTime`, because a permit of the method is also held during the wait for a permit of the server.
    const permitTime = new ServiceTime();
    return (call, request) => {
      limit.serve(call, request, permitTime, next);
    };
  }, run);
}

/**
 * Starts a call. Returns false if the call is already over, or if the call is rejected because the server is draining. The handler of
 * such a call must not run.
 */
function admit(call: ServedCall, calls: ServerCalls): boolean {
  calls.begin(call);
  if (call.endIfOver()) return false;
  const refusal = calls.drainStatusOf(call);
  if (refusal !== undefined) call.refuse(refusal);
  return refusal === undefined;
}

/** Asserts that `callback` is present; grpc-js passes one to every unary and client-streaming call. */
function requireCallback(callback: AnswerCallback | undefined): AnswerCallback {
  if (callback === undefined) throw new TypeError('A unary or client-streaming method was called without a callback');
  return callback;
}
