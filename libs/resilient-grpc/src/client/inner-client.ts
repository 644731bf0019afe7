import type { MethodDescriptor } from '../call/method.js';
import type { RecentCalls } from './client-snapshot.js';
import type { DrainableClient } from './resilient-grpc-client.js';
import type { ResilientMethod } from './resilient-types.js';

/** A client as other parts of the library use it, for services that its contract does not have. */
export interface InnerClient extends DrainableClient {
  /** Each of its connections is seen by itself. Under `xds:` none is. */
  readonly seesConnections: boolean;
  /** How long calls wait in an outage, in milliseconds. */
  readonly outageGraceMs: number;
  /** Calls of the contract that ended lately. */
  recentCalls(): RecentCalls;
  /**
   * Calls of a method outside the contract, as they are at this moment: without a policy of their own and limits, and in no figure of
   * the client, which are the application's calls. No drain waits for them.
   */
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
