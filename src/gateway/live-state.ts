import type { UpstreamState } from '../chaos/upstream-process.js';
import type { ContenderResult } from '../load/comparison.js';
import type { LogLine } from '../report/captured-logger.js';
import type { ServerKind } from '../upstream/server-kind.js';

/** A log line of our client or our server, as shown on the page. */
export type ShownLogLine = LogLine;

/** The state sent to the page. */
export interface LiveState {
  readonly atMs: number;
  readonly upstream: UpstreamState;
  /** Server implementation of the upstream. */
  readonly server: ServerKind;
  /**
   * `opening`: the server is killed in `phaseEndsInMs`. `killed`: it listens again in `phaseEndsInMs`. `free`: the visitor causes faults.
   */
  readonly phase: 'idle' | 'opening' | 'killed' | 'free';
  readonly phaseEndsInMs: number | undefined;
  readonly results: readonly ContenderResult[];
  readonly log: readonly ShownLogLine[];
}
