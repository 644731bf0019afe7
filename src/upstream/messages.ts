import type { LogLine } from '../report/captured-logger.js';

/** Timing of the upstream's handlers. */
export interface Work {
  /** Duration of a read, ±10%. */
  readonly readMs: number;
  readonly writeMs: number;
}

export const NORMAL_WORK: Work = { readMs: 5, writeMs: 20 };

/** A command from the parent process to the upstream over the IPC channel. */
export type UpstreamCommand =
  | { readonly type: 'listen' }
  /** Applies from the next request. */
  | { readonly type: 'work'; readonly work: Work }
  /** Appends this many orders per second to the log. */
  | { readonly type: 'produce'; readonly perSecond: number };

/** A message from the upstream to its parent process. */
export type UpstreamNotice =
  | { readonly type: 'standby' }
  | { readonly type: 'listening'; readonly atMs: number }
  /** The last `work` command is in effect. */
  | { readonly type: 'working' }
  /** A log line of our server. */
  | { readonly type: 'line'; readonly line: LogLine };
