import type { Channel } from '@grpc/grpc-js';
import type { Observable } from 'rxjs';
import type { DrainReport, GrpcClientEvent } from '../call/call-event.js';
import type { Connectivity, ConnectivityTransition } from '../call/connectivity.js';
import type { ActiveCall, GrpcClientSnapshot } from './client-snapshot.js';
import type { OnceOutcome, OutcomeOptions } from './once/ask-outcome.js';
import type { Resilient } from './resilient-types.js';
import type { ReadyOptions } from './wait-for-ready.js';

/** A named client: one channel, shared by all its services. It can be injected in place of Nest's `ClientGrpc`. */
export interface ResilientGrpcClient {
  readonly name: string;
  readonly target: string;
  /**
   * Returns the stub of a service: 'Orders', or 'orders.v1.Orders' if two packages have a service of the same name.
   * @throws GrpcConfigurationError if the client has no such service, or several
   */
  getService<T extends object>(service: string): Resilient<T> & T;
  /**
   * Returns grpc-js's generated client, for code that needs callbacks. Its calls run as calls of this client, with the same timeouts,
   * metadata, retries, and drain. Their errors are grpc-js's, with `reason` and `reachedServer` in addition.
   * @throws GrpcConfigurationError if the client has no such service, or several
   */
  getClientByServiceName<T = unknown>(service: string): T;
  /**
   * This client as grpc-js's public channel, for stubs that grpc-js, nice-grpc, or a code generator makes: pass it as `channelOverride`, or
   * as nice-grpc's channel. Their calls run as calls of this client, with the policies of their methods, which are found by path, and with
   * its states, events, and drain; agents see each call once. A method that no contract of this client declares has the client's defaults,
   * and is never resent once bytes of it were sent. `close()` of a stub has no effect, because others share the channel; grpc-js's
   * `interceptors` of this client do not run, because a stub has its own.
   */
  readonly channel: Channel;
  readonly connectivity: Connectivity;
  /** Emits the current state, then each change; completes on close. */
  readonly connectivity$: Observable<Connectivity>;
  /** The last 100 state changes, oldest first. */
  readonly history: readonly ConnectivityTransition[];
  /** Emits the events of this client; completes on close. 'call-start' and 'call-end' are created only while there is a subscriber. */
  readonly events$: Observable<GrpcClientEvent>;
  /** True if neither a drain nor a close has started. */
  readonly accepting: boolean;
  /**
   * Connects if necessary; resolves when the channel is READY.
   * @throws Error if `timeoutMs` has passed, too many calls are waiting during an outage, or the client is closed; `signal.reason` if the
   * signal is aborted
   */
  waitForReady(options?: ReadyOptions): Promise<void>;
  /**
   * Asks what became of a write with a key (the option `once`), also after a restart of this process: `method` is 'Create', or 'Orders/Create'
   * if several services have it. Never runs a handler. See docs/guides/writes.md.
   * @throws GrpcCallError if the server cannot be asked, or is without the feature (UNIMPLEMENTED); GrpcConfigurationError for an unknown method
   */
  outcome<Response = unknown>(method: string, key: string, options?: OutcomeOptions): Promise<OnceOutcome<Response>>;
  /** Returns the open calls, in the order in which they started. A resumable stream counts as one. */
  activeCalls(): readonly ActiveCall[];
  /** Returns the state of this client as one JSON value. The counters are maintained even if nothing reads them. */
  snapshot(): GrpcClientSnapshot;
  /**
   * Rejects new calls, ends calls according to their `onDrain`, and lets other calls finish within `timeoutMs` milliseconds (0 or more;
   * default 10,000). Then fails the rest with UNAVAILABLE and `reason: 'draining'`, and closes the client. If `drain()` is called twice,
   * the timeout that expires first applies, and both callers get the same report.
   */
  drain(options?: { readonly timeoutMs?: number | undefined }): Promise<DrainReport>;
  /** Ends all calls immediately, then closes the channel. Resolves when the client has released all resources. */
  close(): Promise<void>;
}
