import type { FailureReason, GrpcCallError } from '../../errors/grpc-call-error.js';
import { LibraryLogger } from '../../telemetry/library-logger.js';
import { LogLine, type LogSink } from '../../telemetry/log-line.js';
import { oneLine } from '../../telemetry/log-text.js';
import { RepeatLimit } from '../../telemetry/repeat-limit.js';
import { systemClock, type Clock } from '../../time/clock.js';

const SUMMARY_MS = 60_000;

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
 * was mapped it does know. One line a minute for each method and code.
 */
export class FailureLog {
  private readonly repeats: RepeatLimit<LogLine>;

  constructor(
    private readonly sink: Pick<LogSink, 'warn' | 'error'> = new LibraryLogger('ResilientGrpc'),
    clock: Clock = systemClock,
  ) {
    this.repeats = new RepeatLimit(clock, SUMMARY_MS, ({ level, msg, fields }, repeats) => {
      this.write(new LogLine(level, `${msg} (${String(repeats)} more in the last minute)`, { ...fields, repeats }));
    });
  }

  /** `answered`: what the caller was told, '503' or 'INTERNAL'. A fault, of the upstream or of ours, is an error. */
  tell(error: GrpcCallError, answered: string, isFault: boolean): void {
    const { client, path, peer, codeName, reason, reachedServer } = error;
    if (TOLD_ELSEWHERE.has(reason)) return;
    const details = oneLine(error.details);
    const where = peer === undefined ? path : `${path} at ${peer}`;
    const line = new LogLine(
      isFault ? 'error' : 'warn',
      `answered ${answered}, as ${client} ${where} failed: ${codeName}: ${details} (${reason}, reached the server: ${reachedServer})`,
      { client, event: 'call-failed', path, peer, code: codeName, details, reason, reachedServer, answered },
    );
    this.repeats.say(`${client} ${path} ${codeName} ${answered}`, line, (first) => {
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
