import { AsyncLocalStorage } from 'node:async_hooks';
import type * as GrpcJs from '@grpc/grpc-js';
import type { MethodDescriptor } from '../../call/method.js';

type Call = ReturnType<GrpcJs.Channel['createCall']>;
type Listener = Parameters<Call['start']>[1];
/** Runs a function in a captured async context. */
export type RunInContext = ReturnType<typeof AsyncLocalStorage.snapshot>;
/** Metadata that agents added: keys with their values. */
type Headers = readonly (readonly [string, readonly GrpcJs.MetadataValue[]])[];

/** The only message of a silent call, as a request and as a response. */
const EMPTY = Buffer.alloc(0);
const ignore = (): void => undefined;

/** A call of a generated grpc-js client that sends nothing. Agents that patch grpc-js trace it like any other call. */
export class SilentCall {
  /** The given metadata, to which agents have added their headers. */
  metadata!: GrpcJs.Metadata;
  listener!: Listener;
  /** Runs a function in the context in which the agents started the call, and in which their spans are active. */
  within!: RunInContext;
  peer: string;
  headers: Headers = [];

  /**
   * @param start grpc-js's `start()` if an agent has patched it. It sets `metadata` and `listener` and calls `trace()` and `getConfig()`, and
   * New Relic reads `method` and `channel.target.path`.
   */
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

/** Starts silent calls through generated clients, as an application without this library would start its calls. */
export class SilentCalls {
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
