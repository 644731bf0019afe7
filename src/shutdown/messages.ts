import type { ContenderName } from '../contenders/contender.js';
import type { LogLine } from '../report/captured-logger.js';

/** What a gateway that is to be shut down is started with. */
export interface GatewayOptions {
  readonly contender: ContenderName;
  /** Of the upstream. */
  readonly url: string;
  /** It has a feed and other work besides requests. */
  readonly busy: boolean;
}

/** What the scenario tells a gateway that is to be shut down. */
export type GatewayCommand = {
  /** Say where you stand, now. */
  readonly type: 'report';
};

/** What such a gateway tells the scenario. */
export type GatewayNotice =
  /** It serves over HTTP, and its feed, if it has one, is up. */
  | { readonly type: 'ready'; readonly url: string }
  /** A line of our client. */
  | { readonly type: 'line'; readonly line: LogLine }
  | ({ readonly type: 'report' } & GatewayReport);

/** Where a gateway stands: when it is asked, and when Nest has done all it does and the process is about to end. */
export interface GatewayReport {
  /** `none`: it has no feed. `running`: nobody has ended it. */
  readonly feed: 'none' | 'running' | 'completed' | 'failed';
  /** What is open besides what every process has: sockets, timers, servers. By name, as Node calls them. */
  readonly openHandles: readonly string[];
  /** From the signal to the end of the last gRPC client, in milliseconds, where the client says so. */
  readonly clientsClosedMs: number | undefined;
}
