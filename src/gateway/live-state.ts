import type { UpstreamState } from '../chaos/upstream-process.js';
import type { Standing } from '../load/comparison.js';
import type { LogLine } from '../report/captured-logger.js';
import type { ServerKind } from '../upstream/server-kind.js';

/** A line of our client or our server, as the page shows it. */
export type ShownLogLine = LogLine;

/** What is sent to the page. */
export interface LiveState {
  readonly atMs: number;
  readonly upstream: UpstreamState;
  /** What the upstream is served by. */
  readonly server: ServerKind;
  /** `opening`: the kill comes in `phaseEndsInMs`. `killed`: the server is back in `phaseEndsInMs`. `free`: faults are the visitor's. */
  readonly phase: 'idle' | 'opening' | 'killed' | 'free';
  readonly phaseEndsInMs: number | undefined;
  readonly standings: readonly Standing[];
  readonly log: readonly ShownLogLine[];
}
