import type { GrpcServerEvent } from '../call/server-event.js';
import { errorMessage, isError } from '../errors/error-message.js';
import { describeValue } from '../policy/options/describe-value.js';
import { isObject } from '../policy/options/option-schemas.js';
import { suggestStatusCode, isStatusCode, statusName, StatusCode } from '../status/status-code.js';
import { unsentFieldLine, untestedVersionLine } from '../telemetry/log/client-log.js';
import type { EventTable } from '../telemetry/log/event-log.js';
import { counted, duration, oneLine, stackOf } from '../telemetry/log/log-text.js';
import { HANDSHAKE_FAILURES } from './grpc/handshake-failures.js';
import { UNKNOWN_PEER } from './grpc/socket-connections.js';
import { misnamedCodeOf } from './errors/server-status.js';

/** Maximum length of the part of a message that distinguishes causes. */
const MAX_CAUSE_LENGTH = 100;

/** Describes a thrown value whose message cannot be read. */
const UNREADABLE = 'an error whose message cannot be read';

const ONCE_TEXTS = {
  'in-doubt':
    'nobody knows whether the write was done, because its process, or the store, was lost; look, and then call settleWrite() of the server; ' +
    'see node_modules/nestjs-resilient-grpc/docs/guides/writes.md',
  uncommitted:
    'the handler answered without once.commit(client, response), so that it would run again if the process died in between',
  changed: 'the response was changed after once.commit(), for example by an interceptor; callers get the committed one',
};

const PULL_REMEDY = 'return an async generator, which is pulled as the client reads';

/** The line of each event of a server. A handler fault is a warning, or an error if it is reported nowhere else. */
export const SERVER_LINES: EventTable<GrpcServerEvent, undefined> = {
  'call-start': undefined,
  'call-end': undefined,
  'call-shed': undefined,
  'call-dequeued': undefined,
  drain: undefined,
  'connection-end': {
    level: ({ reason }) => (reason === 'limit' || reason === 'refused' ? 'warn' : 'debug'),
    text: ({ peer, reason, details = '' }) => {
      if (reason === 'limit') return `connection of ${peer} ended: ${details}`;
      return reason === 'refused' ? `connection from ${peer} refused: ${details} (connections.max)` : undefined;
    },
    about: ({ reason, details = '' }) => `${reason} ${details}`,
  },
  'handler-failed': {
    level: 'error',
    text: ({ path, error }) => `${path}: handler failed: ${oneLine(failureText(error))}`,
    fields: ({ error }) => ({ error: oneLine(failureText(error)), stack: failureStack(error) }),
    about: ({ path, error }) => `${path} (${causeOf(error)})`,
  },
  'handler-leak': {
    text: ({ path, overMs }) =>
      `${path}: handler still running ${duration(overMs)} after the call ended; stop it with @CallSignal(), ` +
      'Observable teardown, or `finally`',
  },
  'responses-overflow': {
    text: ({ path, bytes }) =>
      `${path}: stream ended: its Observable was ${String(bytes)} bytes ahead of the client; ${PULL_REMEDY}`,
  },
  'responses-burst': {
    text: ({ path, messages }) =>
      `${path}: an Observable emitted ${counted(messages, 'response')} at once, all buffered in memory; ${PULL_REMEDY}`,
  },
  'extra-response': {
    text: ({ path }) =>
      `${path}: unary handler emitted another value after its response; the value was dropped; emit only one value`,
  },
  once: {
    level: ({ outcome }) => (outcome in ONCE_TEXTS ? 'warn' : undefined),
    // Safe cast: others have no level.
    text: ({ path, outcome, key }) => `${path} (key ${key}): ${ONCE_TEXTS[outcome as keyof typeof ONCE_TEXTS]}`,
    about: ({ path, outcome }) => `${path} ${outcome}`,
  },
  'trailers-omitted': {
    text: ({ path }) =>
      `${path}: a part of a status was not sent: HTTP/2 or gRPC forbids some of its trailers, or it exceeds the limit of the client ` +
      '(8 KiB if it announces none); remove or shorten its trailers and its message',
  },
  'request-unreadable': {
    text: ({ path, error, code }) =>
      code === StatusCode.RESOURCE_EXHAUSTED
        ? `${path}: a request was refused: ${unreadableText(error)}; the caller received RESOURCE_EXHAUSTED; raise ` +
          'maxReceiveMessageLength of this server, or have the client send less at once'
        : `${path}: a request cannot be deserialized: ${unreadableText(error)}; the caller received INTERNAL; compare the .proto ` +
          'files of the client and this server',
    fields: ({ error, code }) => ({ error: unreadableText(error), code: statusName(code) }),
  },
  'stream-idle': {
    level: 'log',
    text: ({ path, peer, idleMs }) =>
      `${path}: stream from ${peer} ended: no message for ${duration(idleMs)} (maxStreamIdleMs)`,
  },
  'handshake-failed': {
    text: ({ reason, code, peer }) => {
      const { cause, remedy } = HANDSHAKE_FAILURES[reason];
      const from = peer === UNKNOWN_PEER ? '' : ` from ${peer}`;
      return `connection${from} rejected in the TLS handshake: ${cause} (${code}); ${remedy}`;
    },
    about: ({ reason }) => reason,
  },
  'tls-reload': {
    text: ({ problem, isInUse }) =>
      `new TLS files cannot be used: ${problem}; ${isInUse ? 'the old ones stay in use' : 'connections are closed until they can be used'}`,
    about: ({ problem }) => problem,
  },
  'certificate-expiry': {
    text: ({ expiresAt, isExpired }) =>
      isExpired
        ? `the TLS certificate expired on ${expiresAt}: clients do not connect; renew it`
        : `the TLS certificate expires on ${expiresAt}, and clients do not connect from then on; renew it`,
  },
  'process-paused': {
    text: ({ pausedMs }) =>
      `this process did not run for ${duration(pausedMs)}, and all calls waited: a handler blocked the event loop, or the process ` +
      'was stopped; to find the handler, run node with --cpu-prof',
  },
  'memory-limit': {
    text: ({ consequence }) => {
      const what =
        consequence === 'refused' ? 'new calls are refused (UNAVAILABLE)' : 'calls that hold much were ended';
      const remedy =
        'give this process more memory or heap, or find out who has so many calls open, by activeStreams()';
      return `${what}: the memory for connections is used up; ${remedy}`;
    },
    about: ({ consequence }) => consequence,
  },
  overload: {
    level: ({ phase }) => (phase === 'begin' ? 'warn' : 'log'),
    text: (event) => {
      if (event.phase === 'end')
        return `overload ended after ${duration(event.durationMs)}: ${counted(event.shed, 'call')} refused`;
      const { queued, limit } = event;
      const ofMethod = limit?.path === undefined ? '' : ` of ${limit.path}`;
      const reached = limit && `maxConcurrentCalls${ofMethod} (${String(limit.maxConcurrent)}) reached, `;
      const beyond = limit && `calls beyond maxConcurrentCalls.queue (${String(limit.maxQueued)}) and `;
      return (
        `server overloaded: ${reached ?? ''}${counted(queued, 'unary call')} waiting for a handler; ` +
        `${beyond ?? ''}calls that cannot be served in time are refused (RESOURCE_EXHAUSTED); see node_modules/nestjs-resilient-grpc/docs/guides/overload.md`
      );
    },
    fields: (event) => ('limit' in event ? { limit: event.limit.maxConcurrent } : {}),
  },
  'untested-version': untestedVersionLine(),
  'unsent-field': unsentFieldLine('response'),
};

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

/** Returns the failure and its stack frames; `undefined` if the error has no stack, or if the stack cannot be read. */
function failureStack(error: unknown): string | undefined {
  return readSafely(
    () =>
      isError(error) && error.stack !== undefined ? stackOf(failureText(error), error.message, error.stack) : undefined,
    undefined,
  );
}

function unreadableText(error: unknown): string {
  return oneLine(readSafely(() => errorMessage(error), UNREADABLE));
}

/** Returns the result of `read`, or `fallback` if it throws. Getters and proxies of a thrown value may throw. */
function readSafely<T>(read: () => T, fallback: T): T {
  try {
    return read();
  } catch {
    return fallback;
  }
}

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
