import type { ClientFigures, ClientTelemetry } from '../call/call-telemetry.js';
import type { EndpointSnapshot } from '../call/connectivity.js';
import type { MethodDescriptor } from '../call/method.js';
import type { FailureReason } from '../errors/grpc-call-error.js';
import type { RecentCalls } from './client-snapshot.js';
import type { ResilientGrpcClient } from './resilient-grpc-client.js';
import type { ResilientMethod } from './resilient-types.js';

/** A client as other parts of the library use it: lifecycle, telemetry, and services outside its contract. */
export interface InternalGrpcClient extends ResilientGrpcClient {
  /** `target` with its scheme: 'dns:///orders:50051'. */
  readonly canonicalTarget: string;
  /** True if its connections are encrypted. */
  readonly isSecure: boolean;
  /** Reports its calls to `telemetry` from now on. It may be called at most once. */
  setTelemetry(telemetry: ClientTelemetry): void;
  /** Returns the values for metrics. Unlike a snapshot, its cost does not depend on the number of calls. */
  figures(): ClientFigures;
  /**
   * Ends streams that are resumable or have `onDrain` 'complete' or 'fail'. None of them starts or resumes anymore. Other calls continue,
   * and new ones may start.
   */
  endStreams(): Promise<void>;
  /** Number of calls waiting for the channel. */
  readonly waitingCalls: number;
  /** Returns the number of calls that failed for `reason`, including rejected ones. */
  failedBy(reason: FailureReason): number;
  /** True if its connections are observed individually; false under `xds:`. */
  readonly observesConnections: boolean;
  /**
   * Health of its endpoints, by address, if `healthCheckConfig` is set and the load-balancing policy uses several endpoints; otherwise
   * `undefined`.
   */
  readonly endpointHealth:
    | { readonly service: string; readonly endpoints: ReadonlyMap<string, EndpointSnapshot['health'] | 'disconnected'> }
    | undefined;
  /** Time that calls wait in an outage, in milliseconds. */
  readonly outageGraceMs: number;
  /** Returns the calls of the contract that ended recently. */
  recentCalls(): RecentCalls;
  /**
   * Returns a stub for a method outside the contract. It copies the state of the client, such as its telemetry, when it is created. Its
   * calls have no policy of their own and no limits. They are not part of the client's statistics, which count the application's calls,
   * and a drain does not wait for them.
   */
  stubOf(method: MethodDescriptor): ResilientMethod<unknown, unknown>;
  /**
   * Opens a response stream on one READY connection. The stream is not one of the client's calls: it is not counted, nothing waits for its
   * end, and the channel becomes idle even while it is open. It sends the client's metadata and bypasses interceptors. Resolves to
   * `undefined` if no connection is READY.
   *
   * @throws the error that the client's metadata function throws
   */
  openStream(
    method: MethodDescriptor,
    request: object,
    listener: AuxiliaryStreamListener,
  ): Promise<AuxiliaryStream | undefined>;
}

/** Listener of an auxiliary stream. */
export interface AuxiliaryStreamListener {
  onMessage(message: unknown): void;
  /** Called once and last, except after cancel(). `undefined`: its connection accepts no more calls. */
  onEnd(end: { readonly code: number; readonly details: string } | undefined): void;
}

/** A stream that is not one of the client's calls. */
export interface AuxiliaryStream {
  cancel(): void;
}
