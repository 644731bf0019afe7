import { isObservable, lastValueFrom } from 'rxjs';
import { GrpcObservable } from '../../call/grpc-observable.js';
import type { StreamSink } from '../../call/stream-source.js';
import type { GrpcCallOptions, Resilient, ResilientMethod } from '../../client/resilient-types.js';
import { methodStub } from '../../client/service-stub.js';
import { isGrpcCallError } from '../../errors/grpc-call-error.js';
import {
  type AnyHandler,
  type FakeCall,
  type FakeCallRecord,
  type FakeCallRecords,
  type FakeHandlers,
  FakeMethod,
  fakeContexts,
} from './fake-context.js';
import { grpcError } from './grpc-error.js';
import { HandlerAttempt, HandlerFailure, isStream } from './handler-attempt.js';

/** A fake service and the calls that it received. */
export type FakeGrpcService<S> = Resilient<S> & {
  /** All calls, in the order in which they were subscribed to. */
  readonly calls: readonly FakeCallRecords<S>[];
};

/**
 * Creates a fake service without a server or socket, to be injected in place of a stub. Each call runs its handler at most once, through
 * the same code as calls of a real client: calls are cold, and `for await` pulls messages. `timeoutMs`, `signal`, and unsubscribing end the
 * call and abort the signal of its handler. Calls with the same `onceKey` get the answer of the first. Client settings and call policies do not apply. A method without a handler fails with
 * UNIMPLEMENTED.
 * @throws Error if a method is named `calls`
 */
export function fakeGrpcService<S>(handlers: FakeHandlers<S>): FakeGrpcService<S> {
  const fake = new FakeService(handlers as Readonly<Record<string, AnyHandler>>);
  // Safe cast: the stub has the methods of the handlers, whose types come from S.
  return fake.stub() as FakeGrpcService<S>;
}

/** Property names that promises, RxJS, JSON, test runners, and Nest look up on any object, and names that do not start with a letter. */
const NON_METHOD_NAME =
  /^(?:then|lift|getReader|toJSON|asymmetricMatch|nodeType|tagName|hasAttribute|on(?:Module(?:Init|Destroy)|Application(?:Bootstrap|Shutdown))|beforeApplicationShutdown)$|^[^A-Za-z]/;

class FakeService {
  private readonly calls: FakeCallRecord[] = [];
  private readonly contextOf = fakeContexts((fakeMethod, request, listener) => {
    const { method } = fakeMethod;
    // Safe cast: the options come from a call to the stub below.
    const options = (request.options ?? {}) as GrpcCallOptions;
    const { metadata, deadline } = request;
    const record = { method, request: undefined, metadata, options, outcome: 'open' as const };
    this.calls.push(record);
    const own = this.handlers[method] ?? unimplemented(method);
    const handler = options.onceKey === undefined ? own : this.onceFor(`${method} ${options.onceKey}`, own);
    return new HandlerAttempt(fakeMethod, listener, handler, { metadata, options, deadline }, record);
  });

  /** Answers by method and key. */
  private readonly answers = new Map<string, Promise<unknown>>();

  constructor(private readonly handlers: Readonly<Record<string, AnyHandler>>) {
    if ('calls' in handlers)
      throw new Error('fakeGrpcService: cannot fake a method named `calls`, which is the list of received calls');
  }

  /** Returns a handler that runs once: later calls with the same key get its answer. */
  private onceFor(key: string, handler: AnyHandler): AnyHandler {
    return (request, call) => {
      const answer = this.answers.get(key) ?? answerOf(handler, request, call);
      this.answers.set(key, answer);
      return answer;
    };
  }

  stub(): object {
    const methods: Record<string, unknown> = { calls: this.calls };
    for (const name of Object.keys(this.handlers)) methods[name] = this.method(name);
    // A real stub has each method under the method's proto name and under that name with a lowercase first letter. A handler may have
    // either name.
    for (const name of Object.keys(this.handlers)) methods[withOtherCase(name)] ??= methods[name];
    return new Proxy(methods, {
      get: (target, name): unknown => {
        if (typeof name === 'symbol' || name in target || NON_METHOD_NAME.test(name)) return Reflect.get(target, name);
        return (target[name] = this.method(name));
      },
    });
  }

  private method(name: string): ResilientMethod<unknown, unknown> {
    const one = this.stubOf(name, false);
    const many = this.stubOf(name, true);
    return (request, metadataOrOptions, options) =>
      withHandlerErrors((isStream(request) ? many : one)(request, metadataOrOptions, options));
  }

  private stubOf(name: string, requestStream: boolean): ResilientMethod<unknown, unknown> {
    const method = () => new FakeMethod(name, requestStream);
    return methodStub(method(), () => this.contextOf(method()));
  }
}

function withHandlerErrors(call: GrpcObservable<unknown>): GrpcObservable<unknown> {
  const open: GrpcObservable<unknown>['openStream'] = (sink, scope) => call.openStream(withOwnErrors(sink), scope);
  return new GrpcObservable((subscriber) => call.subscribe(withOwnErrors(subscriber)), open);
}

function withOwnErrors(sink: StreamSink<unknown>): StreamSink<unknown> {
  return {
    demand: sink.demand,
    next: (message) => sink.next(message),
    complete: () => {
      sink.complete();
    },
    error: (error) => {
      const reported =
        isGrpcCallError(error) && error.cause instanceof HandlerFailure ? error.cause.errorFor(error) : error;
      sink.error(reported);
    },
  };
}

async function answerOf(handler: AnyHandler, request: unknown, call: FakeCall): Promise<unknown> {
  const answer: unknown = await handler(request, call);
  return isObservable(answer) ? lastValueFrom(answer) : answer;
}

function unimplemented(name: string): AnyHandler {
  return () => {
    throw grpcError('UNIMPLEMENTED', `fakeGrpcService has no handler for '${name}'`);
  };
}

function withOtherCase(name: string): string {
  const [first = ''] = name;
  const other = first === first.toLowerCase() ? first.toUpperCase() : first.toLowerCase();
  return other + name.slice(1);
}
