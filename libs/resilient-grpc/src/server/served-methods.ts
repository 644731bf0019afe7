import { GrpcMethodStreamingType } from '@nestjs/microservices';
import type { MethodKind } from '../call/method.js';
import { PassThroughCall } from './calls/pass-through-call.js';
import { GrpcRequestStream } from './calls/request-stream.js';
import { ResponseStreamCall } from './calls/response-stream-call.js';
import type { ServedCall } from './calls/served-call.js';
import type { AnswerCallback, ServedHandler, ServedMethod } from './calls/served-method.js';
import type { ServerCalls } from './calls/server-calls.js';
import { UnaryCall } from './calls/unary-call.js';
import type { ReadableCall, WireCall } from './calls/wire-call.js';
import type { ResolvedServerOptions } from './server-options.js';

/** Method of a service in a package loaded by grpc-js. */
export interface NativeMethod {
  /** Path of the method, such as '/orders.v1.Orders/Get'. */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  responseSerialize(message: unknown): Uint8Array;
}

/** Function that grpc-js runs for each call of a method. */
export type MethodImplementation = (call: WireCall, callback?: AnswerCallback) => void;

/** Called at the start of a call; the returned function is called at the end of its handler. */
export type CallHook = (call: WireCall) => (() => void) | undefined;

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
    serialize: (message) => native.responseSerialize(message),
  };
}

/** Returns the implementation of a method for grpc-js. */
export function implementationOf(
  method: ServedMethod,
  streaming: GrpcMethodStreamingType,
  calls: ServerCalls,
  onCall: CallHook | undefined,
): MethodImplementation {
  const { kind } = method;
  if (streaming === GrpcMethodStreamingType.PT_STREAMING) {
    // Only the handler sees the messages of such a stream, so an idle timeout cannot apply.
    const own = { ...method, options: { ...method.options, streamIdleTimeoutMs: undefined } };
    return (wire, callback) => {
      const answer = kind === 'bidi' ? undefined : callback;
      const call = new PassThroughCall(wire, answer, own, calls, onCall?.(wire));
      if (admitted(call, calls)) {
        call.inContext(() => {
          call.serve();
        });
      }
    };
  }
  switch (kind) {
    case 'unary':
      return (wire, callback) => {
        const call = new UnaryCall(wire, given(callback), method, calls, onCall?.(wire));
        calls.begin(call);
        if (call.endIfOver()) return;
        if (calls.captures) {
          call.inContext(() => {
            call.serve(wire.request);
          });
        } else {
          // Avoids a closure per call.
          call.serve(wire.request);
        }
      };
    case 'client-stream':
      return (wire, callback) => {
        const call = new UnaryCall(wire, given(callback), method, calls, onCall?.(wire));
        calls.begin(call);
        if (call.endIfOver()) return;
        call.inContext(() => {
          call.serve(requestsOf(call));
        });
      };
    case 'server-stream':
      return (wire) => {
        const call = new ResponseStreamCall(wire, method, calls, onCall?.(wire));
        if (!admitted(call, calls)) return;
        call.inContext(() => {
          call.serve(wire.request);
        });
      };
    case 'bidi':
      return (wire) => {
        const call = new ResponseStreamCall(wire, method, calls, onCall?.(wire));
        if (!admitted(call, calls)) return;
        call.inContext(() => {
          call.serve(requestsOf(call));
        });
      };
  }
}

/** Returns the kind of a method. */
export function kindOf({
  requestStream,
  responseStream,
}: Pick<NativeMethod, 'requestStream' | 'responseStream'>): MethodKind {
  if (requestStream) return responseStream ? 'bidi' : 'client-stream';
  return responseStream ? 'server-stream' : 'unary';
}

function requestsOf(call: ServedCall): GrpcRequestStream<unknown> {
  // The cast is safe: grpc-js's calls with a request stream are readable.
  return new GrpcRequestStream(call.wire as ReadableCall, call);
}

/** Starts a call. Returns false if it is already over, or if it is rejected because the server drains; then its handler must not run. */
function admitted(call: ServedCall, calls: ServerCalls): boolean {
  calls.begin(call);
  if (call.endIfOver()) return false;
  const refusal = calls.drainStatusOf(call);
  if (refusal !== undefined) call.refuse(refusal);
  return refusal === undefined;
}

/** Asserts that there is a callback; grpc-js passes one to every unary and client-streaming call. */
function given(callback: AnswerCallback | undefined): AnswerCallback {
  if (callback === undefined) throw new TypeError('A unary or client-streaming method was called without a callback');
  return callback;
}
