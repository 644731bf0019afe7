import type { VirtualClock } from '../virtual-clock.js';

/** The direction of bytes through a proxy. */
export type Direction = 'to-upstream' | 'to-client';

/** The way a connection is ended: 'fin' closes it cleanly; 'rst' resets it. */
export type CloseMode = 'fin' | 'rst';

/** The way an idle connection is cut. 'silent' notifies neither side, like some load balancers. */
export type IdleCloseMode = CloseMode | 'silent';

/** The treatment of new connections. */
export type ProxyMode = 'forward' | 'refuse' | 'silent';

/** A rule that cuts connections on which no byte has arrived for `ms` milliseconds. */
export interface IdleCut {
  readonly ms: number;
  readonly how: IdleCloseMode;
}

/** Options of a fault proxy. */
export interface FaultProxyOptions {
  /** Port to listen on. @defaultValue 0, a free port */
  readonly port?: number | undefined;
  /** Clock for delays and idle cuts. @defaultValue the system clock */
  readonly clock?: VirtualClock | undefined;
}

/** Counters of a proxy since it was started. */
export interface FaultProxyCounters {
  /** Number of accepted connections. */
  readonly accepted: number;
  /** Number of connections whose client is still connected. */
  readonly open: number;
  readonly bytesToUpstream: number;
  readonly bytesToClient: number;
}
