import type { ShutdownStanding } from '../load/shutdown-run.js';
import { type Figure, milliseconds } from './table.js';

/** What a shutdown is measured by. */
export const SHUTDOWN_FIGURES: readonly Figure<ShutdownStanding>[] = [
  { label: 'process ended', cell: ({ exitMs, killed }) => (killed ? 'had to be killed' : milliseconds(exitMs)) },
  { label: '  with nothing to do', cell: ({ idleExitMs }) => milliseconds(idleExitMs) },
  { label: 'reads   in flight', cell: ({ unaryInFlight }) => String(unaryInFlight) },
  { label: 'reads   failed', cell: ({ unaryFailed }) => String(unaryFailed) },
  { label: 'exports whole', cell: ({ exportsWhole }) => String(exportsWhole) },
  { label: 'exports broken off', cell: ({ exportsFailed }) => String(exportsFailed) },
  { label: 'exports cut short unseen', cell: ({ exportsTruncated }) => String(exportsTruncated) },
  { label: 'feed', cell: ({ feed }) => feed },
  { label: 'sockets, timers left', cell: ({ openHandles }) => String(openHandles.length) },
];

/** The figures of one contender's shutdown, as `--json` prints them. */
interface ShutdownReport {
  /** From SIGTERM to the end of the process. */
  readonly exitMs: number;
  /** It had not ended by itself within `seconds`. */
  readonly killed: boolean;
  /** The same of a gateway that had nothing to do. */
  readonly idleExitMs: number;
  /** From SIGTERM to the end of the last gRPC client, where the client says so. */
  readonly clientsClosedMs: number | null;
  /** Reads in flight at SIGTERM. */
  readonly unaryInFlight: number;
  /** Those of them that failed. */
  readonly unaryFailed: number;
  /** Streams that ended in order: the feed that is told that this is the end, exports with their last order. */
  readonly streamsCompleted: number;
  readonly exportsFailed: number;
  /** Exports that ended as a success before their end. */
  readonly exportsTruncated: number;
  readonly feed: ShutdownStanding['feed'];
  /** Open when Nest had done all it does, or when the process had to be killed. */
  readonly openHandles: number;
}

/** The report of one contender's shutdown. */
export function shutdownReport(standing: ShutdownStanding): ShutdownReport {
  const { exitMs, killed, idleExitMs, clientsClosedMs, feed, openHandles } = standing;
  return {
    exitMs: Math.round(exitMs),
    killed,
    idleExitMs: Math.round(idleExitMs),
    clientsClosedMs: clientsClosedMs === undefined ? null : Math.round(clientsClosedMs),
    unaryInFlight: standing.unaryInFlight,
    unaryFailed: standing.unaryFailed,
    streamsCompleted: standing.exportsWhole + (feed === 'completed' ? 1 : 0),
    exportsFailed: standing.exportsFailed,
    exportsTruncated: standing.exportsTruncated,
    feed,
    openHandles: openHandles.length,
  };
}
