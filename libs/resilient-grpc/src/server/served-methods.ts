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

/** A method of a service as grpc-js's loaded package has it. */
export interface NativeMethod {
  /** '/orders.v1.Orders/Get' */
  readonly path: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
  responseSerialize(message: unknown): Uint8Array;
}

/** What grpc-js calls for each call of a method. */
export type MethodImplementation = (call: WireCall, callback?: AnswerCallback) => void;

/** Told at the begin of a call; what it gives is told at the end of its handler. */
export type CallHook = (call: WireCall) => (() => void) | undefined;

/** `native` as the server serves it. */
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

/** How calls of a method are served. */
export function implementationOf(
  method: ServedMethod,
  streaming: GrpcMethodStreamingType,
  calls: ServerCalls,
  onCall: CallHook | undefined,
): MethodImplementation {
  const { kind } = method;
  if (streaming === GrpcMethodStreamingType.PT_STREAMING) {
    // What passes there nobody sees but its handler.
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
          // The same, without a closure for each call.
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

/** How many messages go each way. */
export function kindOf({
  requestStream,
  responseStream,
}: Pick<NativeMethod, 'requestStream' | 'responseStream'>): MethodKind {
  if (requestStream) return responseStream ? 'bidi' : 'client-stream';
  return responseStream ? 'server-stream' : 'unary';
}

function requestsOf(call: ServedCall): GrpcRequestStream<unknown> {
  // True: of a method that takes many messages, grpc-js's call can be read.
  return new GrpcRequestStream(call.wire as ReadableCall, call);
}

/** A stream that begins while the server drains is for another server; its handler sees nothing of it. */
function admitted(call: ServedCall, calls: ServerCalls): boolean {
  calls.begin(call);
  if (call.endIfOver()) return false;
  const refusal = calls.refusalOf(call);
  if (refusal !== undefined) call.refuse(refusal);
  return refusal === undefined;
}

/** grpc-js gives one to each method that answers once. */
function given(callback: AnswerCallback | undefined): AnswerCallback {
  if (callback === undefined) throw new TypeError('A method that answers once was called without a callback');
  return callback;
}
