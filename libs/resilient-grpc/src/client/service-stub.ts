import type { Metadata } from '@grpc/grpc-js';
import { callArguments } from './call-arguments.js';
import type { MethodContext } from './call-context.js';
import { CallExecution } from './call-execution.js';
import type { CallSink } from './call-sink.js';
import { CallIterator } from './call-iterator.js';
import { GrpcObservable } from './grpc-observable.js';
import type { GrpcCallOptions, ResilientMethod } from './resilient-types.js';

/** The stub of a service: a function for each method, under the proto's name and, as in Nest, with a small first letter. */
export function serviceStub(
  methods: Iterable<MethodContext>,
): Readonly<Record<string, ResilientMethod<unknown, unknown>>> {
  const stub: Record<string, ResilientMethod<unknown, unknown>> = {};
  for (const context of methods) {
    const name = context.method.method;
    const call = methodStub(context);
    stub[name] = call;
    stub[lowerFirst(name)] ??= call;
    if (context.method.alias !== undefined) stub[context.method.alias] ??= call;
  }
  return Object.freeze(stub);
}

function methodStub(context: MethodContext): ResilientMethod<unknown, unknown> {
  return (request: unknown, metadataOrOptions?: Metadata | GrpcCallOptions | null, options?: GrpcCallOptions) => {
    const given = callArguments(metadataOrOptions, options);
    return new GrpcObservable<unknown>(
      (subscriber) => {
        const call = new CallExecution(context, request, given, subscriber);
        call.begin();
        return call;
      },
      () => new CallIterator<unknown>((sink: CallSink) => new CallExecution(context, request, given, sink)),
    );
  };
}

function lowerFirst(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}
