import { AsyncLocalStorage } from 'node:async_hooks';
import type * as GrpcJs from '@grpc/grpc-js';
import type {
  AttemptKind,
  AttemptTelemetry,
  CallTelemetry,
  ClientTelemetry,
  WaitEnd,
} from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import { StatusCode } from '../../status/status-code.js';
import type { ObservableClient } from '../grpc-telemetry.js';
import { runOutside } from '../../time/clock.js';
import { elasticAgent, elasticCalls } from './elastic-telemetry.js';

const ignore = (): void => undefined;

/** Keeps the async context of the caller, in which agents keep their spans. */
const ASYNC_CONTEXTS: ClientTelemetry['contexts'] = {
  active: () => AsyncLocalStorage.snapshot(),
  // Safe: each context comes from `active()`.
  run: (context, work) => (context === undefined ? work() : (context as RunInContext)(work)),
};

/** Starts the telemetry of a call, in addition to `other` telemetry. */
type StartCall = (
  method: MethodDescriptor,
  metadata: GrpcJs.Metadata | undefined,
  other: CallTelemetry | undefined,
) => CallTelemetry | undefined;

/** Lets agents trace the calls of `client`, except while telemetry that traces them is set. */
export function tracedByAgents(client: ObservableClient, grpcJs: typeof GrpcJs): ObservableClient {
  const elastic = client.transport === 'socket' ? elasticAgent() : undefined;
  if (elastic !== undefined) return withTelemetry(client, undefined, elasticCalls(elastic, client));
  const start = patchedStart(grpcJs);
  // eslint-disable-next-line @typescript-eslint/unbound-method -- only its text is read
  const { makeUnaryRequest } = grpcJs.Client.prototype;
  if (start === undefined && !isPatched(makeUnaryRequest, 'checkOptionalUnaryResponseArguments')) return client;
  const calls = new SilentCalls(grpcJs, client.canonicalTarget, start);
  return withTelemetry(client, ASYNC_CONTEXTS, (method, metadata, other) => {
    const call = calls.start(method, metadata);
    return call === undefined ? other : new AgentCall(call, method, other);
  });
}

/** Returns `client` with the telemetry of an agent around other telemetry, unless that one traces calls itself. */
function withTelemetry(
  client: ObservableClient,
  contexts: ClientTelemetry['contexts'],
  startCall: StartCall,
): ObservableClient {
  const around = (other: ClientTelemetry | undefined): ClientTelemetry => ({
    contexts,
    begin: (method, scope, metadata) => startCall(method, metadata, other?.begin(method, scope, metadata)),
    take: (event) => other?.take(event),
    close: () => other?.close(),
  });
  const setTelemetry = (telemetry: ClientTelemetry | undefined): void => {
    client.setTelemetry(telemetry?.contexts === undefined ? around(telemetry) : telemetry);
  };
  setTelemetry(undefined);
  return Object.assign(Object.create(client) as ObservableClient, { setTelemetry });
}

/** True if `method` is not grpc-js's own function, whose text contains `name`, or if an agent has rewritten that function. */
function isPatched(method: unknown, name: string): boolean {
  const text = Function.prototype.toString.call(method);
  // A rewritten function publishes to a tracing channel of node:diagnostics_channel.
  return !text.includes(name) || text.includes('runStores');
}

/** Returns `start()` of grpc-js's calls if an agent, such as New Relic, has patched it. */
function patchedStart({ Channel, credentials, Metadata }: typeof GrpcJs): SilentCall['start'] | undefined {
  const channel = new Channel('localhost', credentials.createInsecure(), { 'grpc.enable_channelz': 0 });
  // eslint-disable-next-line @typescript-eslint/unbound-method -- becomes a method of silent calls
  const { start } = channel.createCall('/', Infinity, null, null, undefined);
  channel.close();
  if (!isPatched(start, 'getConfig')) return undefined;
  try {
    const listener = { onReceiveMetadata: ignore, onReceiveMessage: ignore, onReceiveStatus: ignore };
    const call = new SilentCall('/', { target: { path: '' } }, start);
    // The probe must not become a segment of a request that creates a client.
    runOutside(() => {
      call.start(new Metadata(), listener);
    });
    return start;
  } catch {
    // This release of grpc-js calls other methods.
    return undefined;
  }
}

class AgentCall implements CallTelemetry {
  constructor(
    private readonly call: SilentCall,
    private readonly method: MethodDescriptor,
    private readonly other: CallTelemetry | undefined,
  ) {}

  nextIs(kind: AttemptKind): void {
    this.other?.nextIs(kind);
  }

  within<T>(work: () => T): T {
    return this.call.within(work);
  }

  attempt(shared: GrpcJs.Metadata): AttemptTelemetry {
    const metadata = shared.clone();
    for (const [key, values] of this.call.headers) {
      metadata.remove(key);
      for (const value of values) metadata.add(key, value);
    }
    const other = this.other?.attempt(metadata);
    return {
      metadata,
      sent: (bytes) => other?.sent(bytes),
      received: (bytes) => other?.received(bytes),
      end: (code, details, peer, isAnswered) => {
        if (peer !== undefined) this.call.peer = peer;
        other?.end(code, details, peer, isAnswered);
      },
    };
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    this.other?.waited(outcome, waitedMs);
  }

  answered(headers: GrpcJs.Metadata): void {
    this.call.listener.onReceiveMetadata(headers);
  }

  end(code: StatusCode, details: string, trailers: GrpcJs.Metadata): void {
    this.other?.end(code, details, trailers);
    // New Relic notes the error in the active segment.
    this.call.within(() => {
      this.call.end({ code, details, metadata: trailers }, code === StatusCode.OK && !this.method.responseStream);
    });
  }
}

type Call = ReturnType<GrpcJs.Channel['createCall']>;
type Listener = Parameters<Call['start']>[1];
export type RunInContext = ReturnType<typeof AsyncLocalStorage.snapshot>;
/** Metadata that agents added: keys with their values. */
type Headers = readonly (readonly [string, readonly GrpcJs.MetadataValue[]])[];

/** The only message of a silent call, as a request and as a response. */
const EMPTY = Buffer.alloc(0);

/** A call of a generated grpc-js client that sends nothing. Agents that patch grpc-js trace it like any other call. */
class SilentCall {
  /** The given metadata, to which agents have added their headers. */
  metadata!: GrpcJs.Metadata;
  listener!: Listener;
  /** Runs a function in the context in which the agents started the call, and in which their spans are active. */
  within!: RunInContext;
  peer: string;
  headers: Headers = [];

  /** It sets `metadata` and `listener` and calls `trace()` and `getConfig()`, and New Relic reads `method` and `channel.target.path`. */
  constructor(
    readonly method: string,
    readonly channel: { readonly target: { readonly path: string } },
    start: Call['start'] | undefined,
  ) {
    this.peer = channel.target.path;
    if (start !== undefined) this.start = start;
  }

  start(metadata: GrpcJs.Metadata, listener: Listener): void {
    this.metadata = metadata;
    this.listener = listener;
    this.getConfig();
  }

  getConfig(): void {
    this.within = AsyncLocalStorage.snapshot();
  }

  getPeer(): string {
    return this.peer;
  }

  /** Ends the call. A call that `hasResponse` receives one before its status. */
  end(status: GrpcJs.StatusObject, hasResponse: boolean): void {
    if (hasResponse) this.listener.onReceiveMessage(EMPTY);
    this.listener.onReceiveStatus(status);
  }

  trace(): void {}
  startRead(): void {}
  sendMessageWithContext(): void {}
  halfClose(): void {}
}

class SilentCalls {
  private readonly clients = new Map<string, GrpcJs.Client>();
  private readonly channel: GrpcJs.Channel;
  private created: SilentCall | undefined;

  constructor(
    readonly grpcJs: typeof GrpcJs,
    private readonly target: string,
    private readonly patchedStart: Call['start'] | undefined,
  ) {
    const channel = { getTarget: () => target, createCall: (path: string) => (this.created = this.callOf(path)) };
    // Safe: generated clients call no other member of a channel, or of a call, while the call runs.
    this.channel = channel as unknown as GrpcJs.Channel;
  }

  /** Starts a call with a copy of `given`, in the context of the caller. Returns `undefined` if an agent did not start it. */
  start(method: MethodDescriptor, given: GrpcJs.Metadata | undefined): SilentCall | undefined {
    const metadata = new this.grpcJs.Metadata();
    if (given !== undefined) metadata.merge(given);
    if (method.isGenerated) {
      if (this.patchedStart === undefined) return undefined;
      this.created = this.callOf(method.path);
      this.created.start(metadata, { onReceiveMetadata: ignore, onReceiveMessage: ignore, onReceiveStatus: ignore });
    } else this.startGenerated(method, metadata);
    const { created } = this;
    this.created = undefined;
    if (created !== undefined) created.headers = added(created.metadata, given);
    return created;
  }

  private callOf(path: string): SilentCall {
    const target = { path: this.target.replace(/^[^:]+:(?:\/\/[^/]*\/)?/, '') };
    return new SilentCall(path, { target }, this.patchedStart);
  }

  private startGenerated(method: MethodDescriptor, metadata: GrpcJs.Metadata): void {
    const args = [...(method.requestStream ? [] : [EMPTY]), metadata, ...(method.responseStream ? [] : [ignore])];
    const client = this.clients.get(method.path) ?? this.clientOf(method);
    // Safe: the client was generated with this method. An error event without a listener would end the process.
    (client as unknown as Record<string, (...args: unknown[]) => GrpcJs.ClientUnaryCall>)
      [method.method]?.(...args)
      .on('error', ignore);
  }

  private clientOf({ path, service, method, alias, requestStream, responseStream }: MethodDescriptor): GrpcJs.Client {
    const codec = (): Buffer => EMPTY;
    const codecs = { requestSerialize: codec, requestDeserialize: codec, responseSerialize: codec };
    const name = alias === undefined ? {} : { originalName: alias };
    const definition = { path, requestStream, responseStream, ...codecs, responseDeserialize: codec, ...name };
    const Client = this.grpcJs.makeGenericClientConstructor({ [method]: definition }, service);
    const client = new Client(this.target, this.grpcJs.credentials.createInsecure(), { channelOverride: this.channel });
    this.clients.set(path, client);
    return client;
  }
}

function added(metadata: GrpcJs.Metadata, given: GrpcJs.Metadata | undefined): Headers {
  return Object.keys(metadata.getMap())
    .map((key) => [key, metadata.get(key)] as const)
    .filter(([key, values]) => String(given?.get(key) ?? '') !== String(values));
}
