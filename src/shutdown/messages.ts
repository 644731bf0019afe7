import type { ContenderName } from '../contenders/contender.js';
import type { LogLine } from '../report/captured-logger.js';

/** Options of a gateway process. */
export interface GatewayOptions {
  readonly contender: ContenderName;
  /** URL of the upstream. */
  readonly url: string;
  /** True if the gateway has a feed and other background work. */
  readonly busy: boolean;
}

/** A command from the scenario to a gateway process. */
export type GatewayCommand = {
  /** Requests an immediate report. */
  readonly type: 'report';
};

/** A message from a gateway process to the scenario. */
export type GatewayNotice =
  /** The gateway listens, and its feed has started if it has one. */
  | { readonly type: 'ready'; readonly url: string }
  /** A log line of our client. */
  | { readonly type: 'line'; readonly line: LogLine }
  | ({ readonly type: 'report' } & GatewayReport);

/** The state of a gateway, sent on request and when Nest's shutdown is complete. */
export interface GatewayReport {
  /** `none`: the gateway has no feed. `running`: the feed has not ended. */
  readonly feed: 'none' | 'running' | 'completed' | 'failed';
  /** Node's names for the open handles (sockets, timers, servers), except those that every process has. */
  readonly openHandles: readonly string[];
  /** Milliseconds from the first SIGTERM until the gRPC client was closed; `undefined` if it is open or does not report its close. */
  readonly clientsClosedMs: number | undefined;
}
