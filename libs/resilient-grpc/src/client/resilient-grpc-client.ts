import type { Observable } from 'rxjs';
import type { GrpcClientEvent } from '../call/call-event.js';
import type { ClientFigures, ClientTelemetry } from '../call/call-telemetry.js';
import type { Connectivity, ConnectivityTransition } from '../call/connectivity.js';
import type { FailureReason } from '../errors/grpc-call-error.js';
import type { ActiveCall } from './active-call.js';
import type { GrpcClientSnapshot } from './client-snapshot.js';
import type { DrainReport } from './drain-report.js';
import type { Resilient } from './resilient-types.js';
import type { ReadyOptions } from './wait-for-ready.js';

/** A named client: one channel, shared by all its services. Fits where Nest's `ClientGrpc` was injected. */
export interface ResilientGrpcClient {
  readonly name: string;
  readonly target: string;
  /**
   * The stub of a service: 'Orders', or 'orders.v1.Orders' where two packages have the same name.
   * @throws GrpcConfigurationError when the client has no such service, or several.
   */
  getService<T extends object>(service: string): Resilient<T> & T;
  /**
   * grpc-js's generated client on the same channel, for code that needs callbacks. Its calls are not retried and do not wait; a request
   * that no application saw is resent, as by a plain client.
   */
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
  waitForReady(options?: ReadyOptions): Promise<void>;
  activeCalls(): readonly ActiveCall[];
  /** Everything that is known of this client, as one JSON value. It is counted whether anybody asks or not. */
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
  /** `target` with its scheme: 'dns:///orders:50051'. */
  readonly canonicalTarget: string;
  /** Its connections are encrypted. */
  readonly isSecure: boolean;
  /** Its calls are told to `telemetry` from now on; at most once. */
  tell(telemetry: ClientTelemetry): void;
  /** What metrics are collected of; unlike a snapshot it costs the same however many calls there are. */
  figures(): ClientFigures;
  /**
   * Ends streams that are resumed or have `onDrain` 'complete' or 'fail'; none of them is resumed or begins any more. Everything
   * else goes on, and may begin.
   */
  endStreams(): Promise<void>;
  /** Calls that wait for the channel. */
  readonly waitingCalls: number;
  /** Calls that failed for `reason`, or were refused. */
  failedBy(reason: FailureReason): number;
}
