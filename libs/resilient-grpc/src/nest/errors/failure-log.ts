import type { FailureReason, GrpcCallError } from '../../errors/grpc-call-error.js';
import { LibraryLogger, type LogSink } from '../../telemetry/log/library-logger.js';
import { EventLog, type EventTable } from '../../telemetry/log/event-log.js';
import type { StatusName } from '../../status/status-code.js';
import { systemClock, type Clock } from '../../time/clock.js';
import type { ArgumentsHost } from '@nestjs/common';
import { from, mergeMap } from 'rxjs';
import { errorMessage } from '../../errors/error-message.js';
import { oneLine } from '../../telemetry/log/log-text.js';

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

/** Logs with lines since they were last closed. Nest calls no shutdown hooks of filters that were created with `new`. */
const openLogs = new Set<FailureLog>();

/** Writes the pending lines of all filters, including those of other applications in the process, and clears their timers. */
export function closeFailureLogs(): void {
  for (const log of openLogs) log.close();
}

interface CallFailed {
  readonly type: 'call-failed';
  readonly client: string;
  readonly path: string;
  readonly peer: string | undefined;
  readonly code: StatusName;
  readonly details: string;
  readonly remedy: string | undefined;
  readonly reason: FailureReason;
  readonly reachedServer: string;
  /** Status that the caller received, such as '503' or 'INTERNAL'. */
  readonly answered: string;
  /** True for a fault of the upstream or of this process. */
  readonly isFault: boolean;
}

const FAILURE_LINES: EventTable<CallFailed, undefined> = {
  'call-failed': {
    level: ({ isFault }) => (isFault ? 'error' : 'warn'),
    text: ({ client, path, peer, code, details, remedy, reason, reachedServer, answered }) => {
      const isRejected = CALLER_FAULT_CODES.has(code) && (reason === 'server' || reason === 'http');
      const failed = isRejected ? 'rejected the credential of the call' : 'failed';
      const status = `${code}: ${details}${remedy === undefined ? '' : ` (${remedy})`} (${reason}, reached the server: ${reachedServer})`;
      return `${client} ${path}${peer === undefined ? '' : ` at ${peer}`} ${failed}: ${status}; the caller received ${answered}`;
    },
    about: ({ path, code, answered }) => `${path} ${code} ${answered}`,
  },
};

/** Logs the failure details that a filter does not expose to the caller. Nest itself logs unknown exceptions but not mapped exceptions. */
export class FailureLog {
  private readonly lines: EventLog<CallFailed>;

  constructor(sink: LogSink = new LibraryLogger('ResilientGrpc'), clock: Clock = systemClock) {
    this.lines = new EventLog(FAILURE_LINES, undefined, sink, clock);
  }

  /** Logs `error`. `answered` is the status that the caller received, such as '503' or 'INTERNAL'. */
  log(error: GrpcCallError, answered: string, isFault: boolean): void {
    const { client, path, peer, code, codeName, details, reason, reachedServer } = error;
    if (REASONS_LOGGED_ELSEWHERE.has(reason)) return;
    // The message ends with the remedy in parentheses, if there is one.
    const remedy = error.message.slice(`${String(code)} ${codeName}: ${details} (`.length, -1) || undefined;
    openLogs.add(this);
    const failed = { client, path, peer, code: codeName, details, remedy, reason, reachedServer, answered, isFault };
    this.lines.take({ type: 'call-failed', ...failed });
  }

  close(): void {
    openLogs.delete(this);
    this.lines.close();
  }
}

const logger = new LibraryLogger('ResilientGrpc');

/**
 * Applies Nest's default handling of an unhandled exception outside HTTP. Nest calls only one filter, and an exception that a filter throws
 * bypasses Nest. GraphQL and similar contexts handle such an exception, so it is rethrown there. In microservices and WebSockets, it would
 * end the process, so Nest's base filter receives it instead.
 *
 * `@nestjs/microservices` and `@nestjs/websockets` are loaded on demand. Only the package that the failed handler uses is loaded, so it is
 * always installed.
 */
export function nestDefaultHandling(exception: unknown, host: ArgumentsHost): unknown {
  switch (host.getType<string>()) {
    case 'rpc':
      return from(import('@nestjs/microservices')).pipe(
        mergeMap(({ BaseRpcExceptionFilter }) => new BaseRpcExceptionFilter().catch(exception, host)),
      );
    case 'ws':
      void handleWebSocketException(exception, host);
      return undefined;
    default:
      throw exception;
  }
}

async function handleWebSocketException(exception: unknown, host: ArgumentsHost): Promise<void> {
  try {
    // Directly in the `try` block, so that bundlers accept that the package is not installed.
    const { BaseWsExceptionFilter } = await import('@nestjs/websockets');
    new BaseWsExceptionFilter().catch(exception, host);
  } catch (error) {
    const text = `Nest's handling of an unhandled exception failed: ${oneLine(errorMessage(error))}`;
    logger.write('error', text, { event: 'exception-handling' });
  }
}
