import type { GrpcServerEvent } from '../call/server-event.js';
import { describeValue } from '../policy/options/describe-value.js';
import { isObject } from '../policy/options/option-schemas.js';
import { suggestStatusCode } from '../status/parse-status-code.js';
import { isStatusCode, statusName, StatusCode } from '../status/status-code.js';
import { LogLine, type LogFields, type LogLevel, type LogSink } from '../telemetry/log/log-line.js';
import { counted, duration, oneLine, stackOf } from '../telemetry/log/log-text.js';
import { LogLimiter, withRepeats } from '../telemetry/log/log-limiter.js';
import { unsentFieldLine } from '../telemetry/log/unsent-field-line.js';
import { untestedVersionLine } from '../telemetry/log/untested-version-line.js';
import type { Clock } from '../time/clock.js';
import { errorMessage, isError } from '../errors/error-message.js';
import { UNKNOWN_PEER } from './connections/server-connection.js';
import { misnamedCodeOf } from './errors/server-status.js';
import { HANDSHAKE_FAILURES } from './connections/handshake-failures.js';

type EventOf<T extends GrpcServerEvent['type']> = Extract<GrpcServerEvent, { readonly type: T }>;

type HandlerFailed = EventOf<'handler-failed'>;

/** An event that is logged at most once a minute per method (`handler-failed`: per method and cause). */
type MethodEvent = EventOf<
  | 'handler-failed'
  | 'handler-leak'
  | 'responses-overflow'
  | 'responses-burst'
  | 'extra-response'
  | 'trailers-omitted'
  | 'request-unreadable'
  | 'stream-idle'
>;

/** An event that is logged at most once a minute. */
type LimitedEvent = MethodEvent | EventOf<'overload' | 'handshake-failed'>;

/** Maximum number of causes per method whose failures are limited separately. */
const MAX_CAUSES = 10;
/** Maximum length of the part of a message that distinguishes causes. */
const MAX_CAUSE_LENGTH = 100;

/** Describes a thrown value whose message cannot be read. */
const UNREADABLE = 'an error whose message cannot be read';

const PULL_REMEDY = 'return an async generator, which is pulled as the client reads';

/**
 * Writes server events to the log. A handler fault is a warning, or an error if it is reported nowhere else. The start of an overload and a
 * failed TLS handshake are warnings. The end of an overload and the effect of an option, such as a stream idle timeout, have the level
 * `log`. Each of these events is logged at most once a minute, per method if it has one, with the number of repeats. Failed handlers are
 * limited per method and cause, failed TLS handshakes per reason. A connection that the server ends because of its age, its idleness, or an
 * unanswered ping is logged at debug level. `ServerLifecycle` logs the drain.
 */
export class ServerLog {
  private readonly repeats: LogLimiter<LimitedEvent>;
  /** Limiters of `handler-failed` by method, so that causes of one method cannot suppress lines of another. */
  private readonly failures = new Map<string, LogLimiter<HandlerFailed>>();

  /** @param isDebugEnabled returns true if the debug level is enabled */
  constructor(
    private readonly sink: LogSink,
    private readonly clock: Clock,
    private readonly isDebugEnabled: () => boolean,
  ) {
    // Lines are built only if they are written, because there may be thousands of failures per second.
    this.repeats = new LogLimiter(clock, (event, repeats, _isOfOthers, ageMs) => {
      const line = lineOf(event);
      sink[line.level](withRepeats(line, repeats, ageMs));
    });
  }

  take(event: GrpcServerEvent): void {
    switch (event.type) {
      case 'handler-failed':
        this.failuresOf(event.path).log(causeOf(event.error), event);
        return;
      case 'handler-leak':
      case 'responses-overflow':
      case 'responses-burst':
      case 'extra-response':
      case 'trailers-omitted':
      case 'request-unreadable':
      case 'stream-idle':
        this.repeats.log(`${event.path} ${event.type}`, event);
        return;
      case 'handshake-failed':
        this.repeats.log(`handshake ${event.reason}`, event);
        return;
      case 'overload':
        this.repeats.log(`overload ${event.phase}`, event);
        return;
      case 'connection-end': {
        const { type, peer, reason } = event;
        if (!this.isDebugEnabled()) return;
        this.sink.debug(
          new LogLine('debug', `connection from ${peer} ended: ${END_TEXTS[reason]}`, { event: type, peer, reason }),
        );
        return;
      }
      case 'unsent-field':
        this.sink.warn(unsentFieldLine(event, 'response'));
        return;
      case 'untested-version':
        this.sink.warn(untestedVersionLine(event));
        return;
      case 'call-start':
      case 'call-end':
      case 'call-shed':
      case 'call-dequeued':
      case 'drain':
        return;
    }
  }

  /** Writes pending summary lines and clears the timers. */
  close(): void {
    this.repeats.close();
    for (const limiter of this.failures.values()) limiter.close();
  }

  private failuresOf(path: string): LogLimiter<HandlerFailed> {
    const known = this.failures.get(path);
    if (known !== undefined) return known;
    // Text of the last line of each cause. A line with repeats omits the stack if its text equals the last text of its cause.
    const logged = new Map<string, string>();
    const limiter = new LogLimiter<HandlerFailed>(
      this.clock,
      (event, repeats, isOfOthers, ageMs) => {
        const line = lineOf(event);
        const cause = causeOf(event.error);
        const isOther = isOfOthers || logged.get(cause) !== line.msg;
        if (!isOfOthers) {
          // Bounds the map, because the number of causes over time is unlimited.
          if (!logged.has(cause) && logged.size >= MAX_CAUSES) logged.clear();
          logged.set(cause, line.msg);
        }
        const scope = isOfOthers ? ', including other causes' : '';
        this.sink[line.level](withRepeats(line, repeats, ageMs, scope, isOther));
      },
      { maxKinds: MAX_CAUSES },
    );
    this.failures.set(path, limiter);
    return limiter;
  }
}

/**
 * Identifies the cause of a failure: the class and the start of the message, in which words with digits, such as IDs, count as equal. The
 * stack is not used, because formatting it is expensive and there may be thousands of failures per second.
 */
function causeOf(error: unknown): string {
  return failureText(error, MAX_CAUSE_LENGTH)
    .slice(0, MAX_CAUSE_LENGTH)
    .replace(/[\w-]+/g, (word) => (/\d/.test(word) ? '#' : word));
}

/** Describes a failure. Uses at most `maxLength` characters of the message of an Error. */
function failureText(error: unknown, maxLength = Infinity): string {
  return readSafely(
    () => (isError(error) ? `${error.name}: ${error.message.slice(0, maxLength)}` : thrownText(error)),
    UNREADABLE,
  );
}

/** Returns the frames of an error's stack under `title`; `undefined` if the error has no stack, or if the stack cannot be read. */
function failureStack(title: string, error: unknown): string | undefined {
  return readSafely(
    () => (isError(error) && error.stack !== undefined ? stackOf(title, error.message, error.stack) : undefined),
    undefined,
  );
}

/** Returns the result of `read`, or `fallback` if it throws. Getters and proxies of a thrown value may throw. */
function readSafely<T>(read: () => T, fallback: T): T {
  try {
    return read();
  } catch {
    return fallback;
  }
}

function lineOf(event: LimitedEvent): LogLine {
  if (event.type === 'overload') return overloadLine(event);
  if (event.type === 'handshake-failed') return handshakeLine(event);
  const { type, path } = event;
  const [level, text, fields] = describe(event);
  return new LogLine(level, `${path}: ${text}`, { event: type, path, ...fields });
}

function overloadLine(event: EventOf<'overload'>): LogLine {
  const { type, phase } = event;
  if (phase === 'begin') {
    const { queued, limit } = event;
    const ofMethod = limit?.path === undefined ? '' : ` of ${limit.path}`;
    const reached = limit && `maxConcurrentCalls${ofMethod} (${String(limit.maxConcurrent)}) reached, `;
    const beyond = limit && `calls beyond maxQueuedCalls (${String(limit.maxQueued)}) and `;
    const text =
      `server overloaded: ${reached ?? ''}${counted(queued, 'unary call')} waiting for a handler; ` +
      `${beyond ?? ''}calls that cannot be served in time are refused (RESOURCE_EXHAUSTED); see docs/overload.md`;
    return new LogLine('warn', text, { event: type, phase, queued, ...(limit && { limit: limit.maxConcurrent }) });
  }
  const { shed, durationMs } = event;
  return new LogLine('log', `overload ended after ${duration(durationMs)}: ${counted(shed, 'call')} refused`, {
    event: type,
    phase,
    shed,
    durationMs: Math.round(durationMs),
  });
}

function handshakeLine({ type, reason, code, peer }: EventOf<'handshake-failed'>): LogLine {
  const { cause, remedy } = HANDSHAKE_FAILURES[reason];
  const from = peer === UNKNOWN_PEER ? '' : ` from ${peer}`;
  const text = `connection${from} rejected in the TLS handshake: ${cause} (${oneLine(code)}); ${remedy}`;
  return new LogLine('warn', text, { event: type, peer, reason, code });
}

function describe(event: MethodEvent): readonly [level: LogLevel, text: string, fields?: LogFields] {
  switch (event.type) {
    case 'handler-failed': {
      const { error, omitted } = event;
      const failure = failureText(error);
      const stack = failureStack(failure, error);
      const shown = oneLine(failure);
      const note = omitted === undefined ? '' : `; ${OMITTED_TEXTS[omitted]}`;
      return ['error', `handler failed: ${shown}${note}`, { error: shown, stack, ...(omitted && { omitted }) }];
    }
    case 'handler-leak':
      return [
        'warn',
        `handler still running ${duration(event.overMs)} after the call ended; stop it with @CallSignal(), ` +
          'Observable teardown, or `finally`',
        { overMs: Math.round(event.overMs) },
      ];
    case 'responses-overflow':
      return [
        'warn',
        `stream ended: its Observable was ${String(event.bytes)} bytes ahead of the client; ` + PULL_REMEDY,
        { bytes: event.bytes },
      ];
    case 'responses-burst':
      return [
        'warn',
        `an Observable emitted ${counted(event.messages, 'response')} at once, all buffered in memory; ${PULL_REMEDY}`,
        { messages: event.messages },
      ];
    case 'extra-response':
      return [
        'warn',
        'unary handler emitted another value after its response; the value was dropped; emit only one value',
      ];
    case 'trailers-omitted':
      return ['warn', OMITTED_TEXTS.trailers];
    case 'request-unreadable': {
      const error = oneLine(readSafely(() => errorMessage(event.error), UNREADABLE));
      return [
        'warn',
        `a request cannot be deserialized: ${error}; the caller received INTERNAL; compare the .proto files of the client and this server`,
        { error },
      ];
    }
    case 'stream-idle':
      return [
        'log',
        `stream from ${event.peer} ended: no message for ${duration(event.idleMs)} (streamIdleTimeoutMs)`,
        { peer: event.peer, idleMs: Math.round(event.idleMs) },
      ];
  }
}

const OMITTED_TEXTS = {
  message:
    'the status message exceeds 60 KiB, so the caller received only its first 512 characters and no trailers; shorten the message',
  trailers:
    'trailers were omitted: HTTP/2 or gRPC forbids some of them, or they and the status message exceed 60 KiB; remove or shorten them',
};

const END_TEXTS: Readonly<Record<EventOf<'connection-end'>['reason'], string>> = {
  age: 'maximum age reached (connections.maxAgeMs)',
  'age-grace': 'calls still open after connections.graceMs',
  idle: 'no calls for connections.idleMs',
  keepalive: 'keepalive ping not answered',
};

/**
 * Describes a thrown value that is not an Error. A string is returned as is. An object with a message and a `code` that is an integer or
 * resembles a status code is described by both, because its message is meant for the caller. Any other object is described only by its
 * keys, because its values may be secrets.
 */
function thrownText(thrown: unknown): string {
  if (typeof thrown === 'string') return thrown;
  // The error of an RpcException or a GrpcException.
  if (isObject(thrown) && 'message' in thrown && typeof thrown.message === 'string' && 'code' in thrown) {
    const { code, message } = thrown;
    if (isStatusCode(code) && code !== StatusCode.OK) return `${statusName(code)}: ${message}`;
    if (Number.isInteger(code) || suggestStatusCode(code) !== undefined) {
      return `${message} (${describeValue(code)} is not a gRPC error code; write a code from 1 to 16, such as status.NOT_FOUND)`;
    }
  }
  const misnamed = isObject(thrown) ? misnamedCodeOf(thrown) : undefined;
  const remedy = ' (gRPC sends only `code`; write { code: status.NOT_FOUND, message })';
  return `${describeValue(thrown)}${misnamed === undefined ? '' : remedy}`;
}
