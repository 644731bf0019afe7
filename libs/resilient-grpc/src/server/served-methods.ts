import { GrpcMethodStreamingType } from '@nestjs/microservices';
import { kindOf } from '../call/method.js';
import type { Services } from '../client/settings/contract.js';
import { GrpcRequestStream } from './calls/request-stream.js';
import { ResponseStreamCall } from './calls/response-stream-call.js';
import { ServedCall, type ServedHandler, type ServedMethod } from './calls/served-call.js';
import type { ServerCalls } from './calls/server-calls.js';
import { ServiceTime } from '../policy/overload/overload-queue.js';
import { UnaryCall } from './calls/unary-call.js';
import { OnceCall } from './once/once-call.js';
import { onceRequestOf } from './once/once-request.js';
import type { OnceServer } from './once/once-server.js';
import {
  endStream,
  errorOf,
  type AnswerCallback,
  type ReadableCall,
  type WireCall,
  type StatusLike,
} from './calls/wire-call.js';
import { StatusCode } from '../status/status-code.js';
import type { ConcurrencyLimit, ServeNext } from './overload/concurrency-limit.js';
import type { OverloadGate } from './overload/overload-gate.js';
import type { ResolvedServerOptions } from './server-options.js';
import { isObservable, type Subscription } from 'rxjs';

export interface NativeMethod {
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  responseSerialize(message: unknown): Uint8Array;
}

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

export interface MethodRuntime {
  readonly calls: ServerCalls;
  readonly gate: OverloadGate;
  /** Limits of the concurrent unary calls of the method and of the server, in this order. */
  readonly limits: readonly ConcurrencyLimit[];
  readonly onCall: CallHook | undefined;
  /** Runs the handlers of keys once; absent if the handler is not for keys. */
  readonly once?: OnceServer | undefined;
}

export function implementationOf(
  method: ServedMethod,
  streaming: GrpcMethodStreamingType,
  { calls, gate, limits, onCall, once }: MethodRuntime,
): MethodImplementation {
  const { kind } = method;
  if (streaming === GrpcMethodStreamingType.PT_STREAMING) {
    // Only the handler reads and writes the messages of such a stream, so an idle timeout cannot apply.
    const own = { ...method, options: { ...method.options, maxStreamIdleMs: undefined } };
    return (wire, callback) => {
      const answer = kind === 'bidi' ? undefined : callback;
      const call = new PassThroughCall(wire, own, calls, onCall?.(wire), answer);
      if (admit(call, calls)) call.serve();
    };
  }
  const serve = serveNext(isGated(method, streaming) ? gate : undefined, kind === 'unary' ? limits : []);
  const streamsRequests = kind === 'client-stream' || kind === 'bidi';
  const streamsResponses = kind === 'server-stream' || kind === 'bidi';
  return (wire, callback) => {
    const asked = once === undefined ? undefined : onceRequestOf(wire);
    const call = streamsResponses
      ? new ResponseStreamCall(wire, method, calls, onCall?.(wire))
      : once === undefined || asked === undefined
        ? new UnaryCall(wire, method, calls, onCall?.(wire), callback)
        : new OnceCall(wire, method, calls, onCall?.(wire), callback, asked, once);
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

/** Starts a call. Returns false if the call is already over, or if the call is rejected because the server is draining. */
function admit(call: ServedCall, calls: ServerCalls): boolean {
  calls.begin(call);
  if (call.endIfOver()) return false;
  const refusal = calls.drainStatusOf(call);
  if (refusal !== undefined) call.turnAway(refusal);
  return refusal === undefined;
}

/** Call whose handler owns the grpc-js stream (`@GrpcStreamCall`): the handler reads, writes, and ends it. */
class PassThroughCall extends ServedCall {
  private subscription: Subscription | undefined;
  private code: number = StatusCode.OK;

  protected override callHandler(): unknown {
    const { handler } = this.method;
    return this.callback === undefined ? handler(this.wire) : handler(this.wire, this.answer);
  }

  protected override releaseHandler(): void {
    this.subscription?.unsubscribe();
  }

  protected override send(status: StatusLike): void {
    this.code = status.code;
    if (this.callback === undefined) {
      endStream(this.wire, status);
      return;
    }
    this.callback(errorOf(status));
    this.end(status.code);
  }

  protected override onWireEnd(): void {
    // The handler ended the call with `call.end()` or an error; grpc-js sends the status.
    if (this.wire.writableEnded) this.end(this.code);
    else super.onWireEnd();
  }

  private readonly answer: AnswerCallback = (error, value, ...trailers) => {
    if (this.over) return;
    this.sent = 1;
    this.callback?.(error, value, ...trailers);
    this.end(error === null || error === undefined ? StatusCode.OK : error.code);
  };

  protected override onResult(result: unknown): void {
    if (!isObservable(result) || this.over) {
      this.release();
      return;
    }
    this.subscription = result.subscribe({
      error: (error: unknown) => {
        this.onError(error);
      },
    });
    this.subscription.add(() => {
      this.release();
    });
  }

  protected override onError(error: unknown, filtered = true): void {
    if (!this.over && !this.wire.writableEnded) this.send(this.failureStatus(error, filtered));
    this.release();
  }
}
