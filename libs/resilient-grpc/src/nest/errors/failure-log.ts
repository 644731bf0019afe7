import type { HttpAdapterHost } from '@nestjs/core';
import type { FailureReason, GrpcCallError } from '../../errors/grpc-call-error.js';
import { LibraryLogger } from '../../telemetry/log/library-logger.js';
import { LogLine, type LogSink } from '../../telemetry/log/log-line.js';
import { oneLine } from '../../telemetry/log/log-text.js';
import { LogLimiter, withRepeats } from '../../telemetry/log/log-limiter.js';
import type { StatusName } from '../../status/status-code.js';
import { systemClock, type Clock } from '../../time/clock.js';

/**
 * Maximum number of kinds of failures that are counted separately. The number is bounded, because one failing upstream can make every
 * method of a gateway fail.
 */
const MAX_KINDS = 20;
/**
 * Maximum length of a remedy in characters. It exceeds the limit of other texts, because a remedy is written by this library and may
 * contain an address or a command.
 */
const MAX_REMEDY_LENGTH = 1_000;
/** Codes with which an upstream rejects this process as its caller. */
const CALLER_FAULT_CODES: ReadonlySet<StatusName> = new Set(['UNAUTHENTICATED', 'PERMISSION_DENIED']);

/** Reasons that are not logged here: the client logs them, or its shutdown or the caller's cancellation explains them. */
const REASONS_LOGGED_ELSEWHERE: ReadonlySet<FailureReason> = new Set([
  'outage',
  'connection-lost',
  'circuit-open',
  'draining',
  'closed',
  'cancelled',
  'inbound-cancelled',
]);

/**
 * Failure logs that received entries after they were last closed, each with the adapter host of its application, if known.
 * `closeFailureLogs` closes them, because Nest calls no shutdown hooks of filters that were created with `new`.
 */
const openLogs = new Map<FailureLog, HttpAdapterHost | undefined>();

/** Closes the logs of the application of `host`, and those whose application is unknown. */
export function closeFailureLogs(host: HttpAdapterHost | undefined): void {
  for (const [log, owner] of openLogs) {
    if (owner === undefined || owner === host) log.close();
  }
}

/**
 * Logs the failure details that a filter does not expose to the caller. Nest itself logs unknown exceptions but not mapped exceptions.
 * Writes at most one line a minute for each of 20 combinations of method, code, and response, and one for all others.
 */
export class FailureLog {
  private readonly repeats: LogLimiter<LogLine>;

  constructor(sink: Pick<LogSink, 'warn' | 'error'> = new LibraryLogger('ResilientGrpc'), clock: Clock = systemClock) {
    const write = (first: LogLine, repeats: number, isOfOthers: boolean, ageMs: number): void => {
      const line = withRepeats(first, repeats, ageMs, isOfOthers ? ', including other methods and codes' : '');
      if (line.level === 'error') sink.error(line);
      else sink.warn(line);
    };
    this.repeats = new LogLimiter(clock, write, { maxKinds: MAX_KINDS });
  }

  /**
   * Logs `error`. `answered` is the status that the caller received, such as '503' or 'INTERNAL'. A fault of the upstream or of this
   * process is logged as an error. `host` is the adapter host of the application, if known.
   */
  log(error: GrpcCallError, answered: string, isFault: boolean, host?: HttpAdapterHost): void {
    const { client, path, peer, code, codeName, reason, reachedServer } = error;
    if (REASONS_LOGGED_ELSEWHERE.has(reason)) return;
    const details = oneLine(error.details);
    // The message ends with the remedy. The remedy has its own limit, so that long details do not cut it off.
    const remedy = oneLine(
      error.message.slice(`${String(code)} ${codeName}: ${error.details}`.length),
      MAX_REMEDY_LENGTH,
    );
    const status = `${codeName}: ${details}${remedy}`;
    const where = peer === undefined ? path : `${path} at ${peer}`;
    const failed =
      CALLER_FAULT_CODES.has(codeName) && (reason === 'server' || reason === 'http')
        ? 'rejected the credential of the call'
        : 'failed';
    const line = new LogLine(
      isFault ? 'error' : 'warn',
      `${client} ${where} ${failed}: ${status} (${reason}, reached the server: ${reachedServer}); the caller received ${answered}`,
      { client, event: 'call-failed', path, peer, code: codeName, details, reason, reachedServer, answered },
    );
    openLogs.set(this, host);
    this.repeats.log(`${path} ${codeName} ${answered}`, line);
  }

  /** Writes the pending summaries, and clears the timers. */
  close(): void {
    openLogs.delete(this);
    this.repeats.close();
  }
}
