import type { ShutdownResult } from '../load/shutdown-run.js';
import { type Figure, milliseconds } from './table.js';

/** The rows for shutdowns. */
export const SHUTDOWN_FIGURES: readonly Figure<ShutdownResult>[] = [
  { label: 'time to exit', cell: ({ exitMs, killed }) => (killed ? 'killed' : milliseconds(exitMs)) },
  { label: '  when idle', cell: ({ idleExitMs }) => milliseconds(idleExitMs) },
  { label: 'reads   in flight', cell: ({ unaryInFlight }) => String(unaryInFlight) },
  { label: 'reads   failed', cell: ({ unaryFailed }) => String(unaryFailed) },
  { label: 'exports complete', cell: ({ completeExports }) => String(completeExports) },
  { label: 'exports failed', cell: ({ exportsFailed }) => String(exportsFailed) },
  { label: 'exports truncated', cell: ({ exportsTruncated }) => String(exportsTruncated) },
  { label: 'feed', cell: ({ feed }) => feed },
  { label: 'open handles', cell: ({ openHandles }) => String(openHandles.length) },
];

/** The figures of one contender's shutdown in the output of `--json`. */
interface ShutdownReport {
  /** Time from SIGTERM to the exit of the process. */
  readonly exitMs: number;
  /** True if the process did not exit within `--seconds` and was killed. */
  readonly killed: boolean;
  /** Time from SIGTERM to the exit of an idle gateway. */
  readonly idleExitMs: number;
  /** Time from SIGTERM until the gRPC client was closed; null if the client was not closed or does not report its close. */
  readonly clientsClosedMs: number | null;
  /** Number of reads in flight at SIGTERM, except the read that hangs. */
  readonly unaryInFlight: number;
  /** Number of these reads that failed. */
  readonly unaryFailed: number;
  /** Number of streams that ended cleanly: the feed, and complete exports. */
  readonly streamsCompleted: number;
  readonly exportsFailed: number;
  /** Number of exports that ended like complete ones but were incomplete. */
  readonly exportsTruncated: number;
  readonly feed: ShutdownResult['feed'];
  /** Number of handles still open after Nest's shutdown, or when the process was killed. */
  readonly openHandles: number;
}

/** Returns the report of one contender's shutdown. */
export function shutdownReport(result: ShutdownResult): ShutdownReport {
  const { exitMs, killed, idleExitMs, clientsClosedMs, feed, openHandles } = result;
  return {
    exitMs: Math.round(exitMs),
    killed,
    idleExitMs: Math.round(idleExitMs),
    clientsClosedMs: clientsClosedMs === undefined ? null : Math.round(clientsClosedMs),
    unaryInFlight: result.unaryInFlight,
    unaryFailed: result.unaryFailed,
    streamsCompleted: result.completeExports + (feed === 'completed' ? 1 : 0),
    exportsFailed: result.exportsFailed,
    exportsTruncated: result.exportsTruncated,
    feed,
    openHandles: openHandles.length,
  };
}
