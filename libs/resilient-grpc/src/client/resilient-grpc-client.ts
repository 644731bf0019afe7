import type { Observable } from 'rxjs';
import type { GrpcClientEvent } from '../call/call-event.js';
import type { Connectivity, ConnectivityTransition } from '../call/connectivity.js';
import type { MethodDescriptor, MethodKind } from '../call/method.js';
import type { Resilient, ResilientMethod } from './resilient-types.js';

/** A named client: one channel, shared by all its services. Fits where Nest's `ClientGrpc` was injected. */
export interface ResilientGrpcClient {
  readonly name: string;
  readonly target: string;
  /**
   * The stub of a service: 'Orders', or 'orders.v1.Orders' where two packages have the same name.
   * @throws GrpcConfigurationError when the client has no such service, or several.
   */
  getService<T extends object>(service: string): Resilient<T> & T;
  /** grpc-js's generated client on the same channel, for code that needs callbacks. Its calls are not retried and do not wait. */
  getClientByServiceName<T = unknown>(service: string): T;
  readonly connectivity: Connectivity;
  /** Replays the present state, then changes; completes on close. */
  readonly connectivity$: Observable<Connectivity>;
  /** The last 100 changes of state, oldest first. */
  readonly history: readonly ConnectivityTransition[];
  /** What happens in this client; completes on close. With no subscriber no event is built. */
  readonly events$: Observable<GrpcClientEvent>;
  /** False from the beginning of a drain on. */
  readonly accepting: boolean;
  /**
   * Connects if need be; resolves when the channel is READY.
   * @throws Error when `timeoutMs` has passed, the signal is aborted, or the client is closed.
   */
  waitForReady(options?: {
    readonly timeoutMs?: number | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void>;
  activeCalls(): readonly ActiveCall[];
  snapshot(): GrpcClientSnapshot;
  /**
   * Begins nothing new, ends streams that are resumed, lets what else runs finish within `timeoutMs` (default 10 000), fails the
   * rest UNAVAILABLE 'draining', then closes. Called twice, the shorter time holds and both get the same report.
   */
  drain(options?: { readonly timeoutMs?: number | undefined }): Promise<DrainReport>;
  /** Ends every call at once, then closes the channel. Nothing of this client is left when it resolves. */
  close(): Promise<void>;
}

/** A client as the application's shutdown sees it, which is in two steps. */
export interface DrainableClient extends ResilientGrpcClient {
  /**
   * Ends streams that are resumed or have `onDrain` 'complete' or 'fail'; none of them is resumed or begins any more. Everything
   * else goes on, and may begin.
   */
  endStreams(): Promise<void>;
}

/** A client as other parts of the library use it, for services that its contract does not have. */
export interface InnerClient extends DrainableClient {
  /** Each of its connections is seen by itself. Under `xds:` none is. */
  readonly seesConnections: boolean;
  /** Calls of a method outside the contract: like all others, without a policy of their own. */
  stubOf(method: MethodDescriptor): ResilientMethod<unknown, unknown>;
  /**
   * Opens a stream of responses on one connection that is READY, beside the calls: it is counted nowhere, nobody waits for its end, and
   * the channel goes idle though it is open. It has the client's metadata, and passes no interceptor. undefined: no connection is READY.
   *
   * @throws what the client's function for metadata throws
   */
  openStream(method: MethodDescriptor, request: object, listener: SideListener): Promise<SideStream | undefined>;
}

/** Who opened a stream beside the calls. */
export interface SideListener {
  onMessage(message: unknown): void;
  /** Once and last, unless it was cancelled. undefined: its connection takes no more calls. */
  onEnd(end: { readonly code: number; readonly details: string } | undefined): void;
}

/** A stream beside the calls. */
export interface SideStream {
  cancel(): void;
}

/** One call that has not ended. */
export interface ActiveCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly peer?: string;
  readonly startedAt: Date;
  readonly lastMessageAt?: Date;
  readonly sent: number;
  readonly received: number;
  readonly waiting: boolean;
  /** Of a stream that is resumed: how often it was. */
  readonly resumes?: number;
  /** 'file:line' in the application, where `traceStreams` is on. */
  readonly openedAt?: string;
  /** Ends it as CANCELLED. */
  cancel(reason?: string): void;
}

/** State of a client at one moment, as one JSON value. */
export interface GrpcClientSnapshot {
  readonly version: 1;
  readonly name: string;
  readonly target: string;
  readonly connectivity: Connectivity;
  /** Calls that wait for the channel. */
  readonly waiting: number;
  /** Calls that have not ended, those that wait among them. */
  readonly active: number;
  readonly counters: Readonly<Record<string, number>>;
}

/** How a drain ended. */
export interface DrainReport {
  /** Calls that ended by themselves. */
  readonly finished: number;
  /** Streams that were ended cleanly. */
  readonly completed: number;
  /** Calls that were cut off at the end of the time. */
  readonly cancelled: number;
  readonly durationMs: number;
}
