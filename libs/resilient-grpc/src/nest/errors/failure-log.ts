import type { FailureReason, GrpcCallError } from '../../errors/grpc-call-error.js';
import { LibraryLogger } from '../../telemetry/log/library-logger.js';
import { LogLine, type LogSink } from '../../telemetry/log/log-line.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import { RepeatLimit } from '../../telemetry/log/repeat-limit.js';
import type { StatusName } from '../../status/status-code.js';
import { systemClock, type Clock } from '../../time/clock.js';

const SUMMARY_MS = 60_000;
/** Kinds that are told apart: an upstream that is lost fails every method of a gateway. */
const MOST_KINDS = 20;
/** Of these codes a server speaks of its caller, which is this process. */
const OF_CALLERS: ReadonlySet<StatusName> = new Set(['UNAUTHENTICATED', 'PERMISSION_DENIED']);

/** Of these the client's own log tells, or its shutdown. */
const TOLD_ELSEWHERE: ReadonlySet<FailureReason> = new Set([
  'outage',
  'connection-lost',
  'circuit-open',
  'draining',
  'closed',
  'cancelled',
  'inbound-cancelled',
]);

/**
 * What a filter does not tell the caller, for who runs the application: Nest logs an exception that it does not know, and one that
 * was mapped it does know. One line a minute for each method and code, and one for all that are more than 20.
 */
export class FailureLog {
  private readonly repeats: RepeatLimit<LogLine>;

  constructor(
    private readonly sink: Pick<LogSink, 'warn' | 'error'> = new LibraryLogger('ResilientGrpc'),
    clock: Clock = systemClock,
  ) {
    const summarize = ({ level, msg, fields }: LogLine, repeats: number, isOfOthers: boolean): void => {
      const more = `${String(repeats)} more in the last minute${isOfOthers ? ', of other methods and codes too' : ''}`;
      this.write(new LogLine(level, `${msg} (${more})`, { ...fields, repeats }));
    };
    this.repeats = new RepeatLimit(clock, SUMMARY_MS, summarize, MOST_KINDS);
  }

  /** `answered`: what the caller was told, '503' or 'INTERNAL'. A fault, of the upstream or of ours, is an error. */
  tell(error: GrpcCallError, answered: string, isFault: boolean): void {
    const { client, path, peer, codeName, reason, reachedServer } = error;
    if (TOLD_ELSEWHERE.has(reason)) return;
    const details = oneLine(error.details);
    const where = peer === undefined ? path : `${path} at ${peer}`;
    const failed = OF_CALLERS.has(codeName) && reason === 'server' ? 'refused this process as its caller' : 'failed';
    const line = new LogLine(
      isFault ? 'error' : 'warn',
      `answered ${answered}, as ${client} ${where} ${failed}: ${codeName}: ${details} (${reason}, reached the server: ${reachedServer})`,
      { client, event: 'call-failed', path, peer, code: codeName, details, reason, reachedServer, answered },
    );
    this.repeats.say(`${path} ${codeName} ${answered}`, line, (first) => {
      this.write(first);
    });
  }

  /** Writes what was counted and not yet said, and leaves no timer behind. */
  close(): void {
    this.repeats.close();
  }

  private write(line: LogLine): void {
    if (line.level === 'error') this.sink.error(line);
    else this.sink.warn(line);
  }
}
