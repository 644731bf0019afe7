import type { LogLine } from '../report/captured-logger.js';
import type { Work } from './work.js';

/** What the gateway tells its upstream over the channel between parent and child. */
export type UpstreamCommand =
  | { readonly type: 'listen' }
  /** From the next request on. */
  | { readonly type: 'work'; readonly work: Work }
  /** Appends so many orders a second by itself. */
  | { readonly type: 'produce'; readonly perSecond: number }
  /** Reset all connections, and go on listening. */
  | { readonly type: 'cut' };

/** What the upstream tells the gateway. */
export type UpstreamNotice =
  | { readonly type: 'standby' }
  | { readonly type: 'listening'; readonly atMs: number }
  /** The next request is worked on as it was told to. */
  | { readonly type: 'working' }
  /** A line of our server. */
  | { readonly type: 'line'; readonly line: LogLine };
