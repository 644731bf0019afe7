import type { Clock } from '../../time/clock.js';

/** Which way bytes go. */
export type Direction = 'to-upstream' | 'to-client';

/** How a connection is ended: in order (FIN) or torn (RST). */
export type EndHow = 'fin' | 'rst';

/** How an idle connection is cut; 'silent': neither side is told, as some balancers do. */
export type IdleCutHow = EndHow | 'silent';

/** What happens to new connections. */
export type ProxyMode = 'forward' | 'refuse' | 'silent';

/** Connections that pass no byte for `ms` are cut. */
export interface IdleCut {
  readonly ms: number;
  readonly how: IdleCutHow;
}

/** Options of a fault proxy. */
export interface FaultProxyOptions {
  /** Port to listen on. @defaultValue 0, a free one */
  readonly port?: number | undefined;
  /** Time of delays and idle cuts. @defaultValue the system's */
  readonly clock?: Clock | undefined;
}

/** What a proxy has seen since it was started. */
export interface FaultProxyCounters {
  /** Connections accepted. */
  readonly accepted: number;
  /** Connections whose client has not left. */
  readonly open: number;
  readonly bytesToUpstream: number;
  readonly bytesToClient: number;
}
