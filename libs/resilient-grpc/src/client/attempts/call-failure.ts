import type { Metadata } from '@grpc/grpc-js';
import type { AttemptEnd } from '../../call/attempt.js';
import { NO_METADATA } from '../../channel/wire/call-metadata.js';
import { CircuitOpenError, ConcurrencyLimitError } from '../../errors/operator-errors.js';
import { errorMessage } from '../../errors/error-message.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { GrpcCallError, type FailureReason, type NotRetriedReason } from '../../errors/grpc-call-error.js';
import type { PermitQueue } from '../../policy/concurrency/permit-queue.js';
import { withDoctor } from '../../policy/connect-failure/connect-failures.js';
import { HTTP_RESPONSE_REMEDY, TOO_LARGE_FOR_SERVER, TRAILERS_REMEDY } from '../../policy/evidence/grpc-js-texts.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import { isStatusCode, REQUEST_CODES, StatusCode } from '../../status/status-code.js';
import { maskSecrets } from '../../telemetry/log/log-text.js';
import type { MethodContext } from '../call-context.js';
import { maxReach, type AttemptHistory } from './attempt-history.js';

export interface CallFailure {
  readonly code: StatusCode;
  readonly details: string;
  readonly reason: FailureReason;
  /** Reason why no further attempt follows. @defaultValue `reason` */
  readonly notRetriedBecause?: NotRetriedReason | undefined;
  /**
   * Remedy for the failure, for the message of the error.
   * @defaultValue the remedy for `notRetriedBecause`, or else the result of `serverRemedy()`
   */
  readonly remedy?: string | undefined;
  readonly metadata?: Metadata;
  readonly peer?: string | undefined;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/** Details for a unary or client-streaming call that receives a second response, as in grpc-js's own client. */
export const TOO_MANY_RESPONSES = 'Too many responses received';

const REASONS: Readonly<Record<Verdict['kind'], FailureReason>> = {
  ok: 'protocol',
  unsent: 'outage',
  local: 'not-sent',
  refused: 'refused',
  'connection-lost': 'connection-lost',
  http: 'http',
  server: 'server',
  overloaded: 'overloaded',
  committed: 'server',
  deadline: 'deadline',
  'attempt-timeout': 'attempt-timeout',
  'stream-idle': 'stream-idle',
  cancelled: 'cancelled',
  protocol: 'protocol',
  serialize: 'not-sent',
};

/** Remedies by `notRetriedBecause`, for retries that a limit of the client prevented. */
const REMEDIES: ReadonlyMap<string, string> = new Map([
  [
    'throttled',
    'not retried: the retry budget of this client is used up; set serviceConfig.retryThrottling to change it',
  ],
  [
    'request-not-replayable',
    "not retried: the request does not fit in the retry buffers; raise 'grpc.per_rpc_retry_buffer_size' or 'grpc.retry_buffer_size' in channelOptions",
  ],
]);

/** Returns the reason that a caller receives for the verdict on the last attempt. */
export function failureReason(verdict: Verdict): FailureReason {
  if (verdict.lacksTrailers === true) return 'trailers-missing';
  // If the connection closed before the stream could start, a connection was available, so there is no outage.
  return verdict.connectionLost || verdict.hadConnection === true ? 'connection-lost' : REASONS[verdict.kind];
}

/** Returns the remedy for the verdict on the last attempt; `undefined` if the verdict implies none. */
export function failureRemedy({ kind, lacksTrailers }: Verdict, doctorCommand: string | undefined): string | undefined {
  if (lacksTrailers === true) return TRAILERS_REMEDY;
  return kind === 'http' ? withDoctor(HTTP_RESPONSE_REMEDY, doctorCommand) : undefined;
}

/** Creates the error of a call. `cutOff` is `reachedServer` of the attempt that the failure interrupts, or 'no'. */
export function callError(
  context: MethodContext,
  failure: CallFailure,
  history: AttemptHistory | undefined,
  cutOff: Verdict['reachedServer'],
  once?: { readonly key: string; readonly scope: string | undefined },
): GrpcCallError {
  const reached = history?.reached ?? 'no';
  const notRetriedBecause = failure.notRetriedBecause ?? failure.reason;
  const reachedServer = maxReach(reached, cutOff);
  const ask =
    once !== undefined &&
    reachedServer !== 'no' &&
    (failure.reason !== 'server' || failure.code === StatusCode.UNAVAILABLE)
      ? `client.outcome('${context.method.method}', error.onceKey, { scope: error.onceScope }) tells what became of it`
      : undefined;
  return new GrpcCallError({
    code: failure.code,
    details: failure.details,
    metadata: failure.metadata ?? NO_METADATA.clone(),
    client: context.client.name,
    path: context.method.path,
    peer: failure.peer,
    reason: failure.reason,
    reachedServer,
    attempts: history?.records ?? [],
    notRetriedBecause,
    remedy: failure.remedy ?? REMEDIES.get(notRetriedBecause) ?? ask ?? serverRemedy(failure, context.method.path),
    retryAfterMs: failure.retryAfterMs,
    onceKey: once?.key,
    onceScope: once?.scope,
    cause: failure.cause ?? history?.lastStatus,
  });
}

/** Start of the details with which this client, grpc-js, grpcio, and grpc-go report a message that cannot be deserialized (INTERNAL). */
const UNREADABLE =
  /^(Response message parsing error|Error deserializing request|Exception deserializing request|grpc: error unmarshalling request)/;

/**
 * Returns the remedy for a failure that a contract mismatch or a limit of the server can cause. Returns `path` if the server does not
 * implement the method and its status does not name the path, as in grpcio's "Method not found!".
 */
function serverRemedy({ code, reason, details }: CallFailure, path: string): string | undefined {
  if (code === StatusCode.INTERNAL && UNREADABLE.test(details)) {
    return 'compare the .proto files of the client and the server';
  }
  if (code === StatusCode.RESOURCE_EXHAUSTED && reason === 'server' && TOO_LARGE_FOR_SERVER.test(details)) {
    return "raise the server's limit for requests, such as maxReceiveMessageLength in Nest";
  }
  return code === StatusCode.UNIMPLEMENTED && reason === 'server' && !details.includes(path) ? path : undefined;
}

/** Failure of a call that is rejected because the client is shutting down. */
export function draining(): CallFailure {
  return {
    code: StatusCode.UNAVAILABLE,
    reason: 'draining',
    details: 'The client is shutting down and does not start new calls',
  };
}

export function cancelled(details: string, cause: unknown): CallFailure {
  return { code: StatusCode.CANCELLED, details, reason: 'cancelled', cause };
}

export function inboundCancelled(cause: unknown): CallFailure {
  return {
    code: StatusCode.CANCELLED,
    details: 'The inbound call that this call serves was cancelled',
    reason: 'inbound-cancelled',
    cause,
  };
}

/** True if the caller cancelled, or the inbound call it serves was cancelled. */
export function isCancelled({ reason }: CallFailure): boolean {
  return reason === 'cancelled' || reason === 'inbound-cancelled';
}

/**
 * Failure of a call whose attempt could not be started. Recognizable secrets in its details are masked, because errors of grpc-js quote
 * invalid metadata values. The `cause` is unchanged.
 */
export function startFailure(error: unknown): CallFailure {
  if (error instanceof CircuitOpenError) {
    const { code, message: details, retryAfterMs } = error;
    return { code, details, reason: 'circuit-open', retryAfterMs, cause: error };
  }
  const details = `The call could not be started: ${maskSecrets(errorMessage(error))}`;
  return { code: StatusCode.INTERNAL, details, reason: 'not-sent', notRetriedBecause: 'local', cause: error };
}

/**
 * Returns the failure of a call whose preparation threw `error`, for example in an interceptor or the metadata function. If the error has a
 * gRPC code that does not describe the request, the code is kept. The details contain no recognizable secrets; the `cause` is unchanged.
 */
export function preparationFailure(error: unknown): CallFailure {
  const code: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, 'code') : undefined;
  const what = error instanceof GrpcConfigurationError ? describeProblems(error.problems) : errorMessage(error);
  return {
    code: isStatusCode(code) && !REQUEST_CODES.has(code) ? code : StatusCode.INTERNAL,
    details: `The call could not be prepared: ${maskSecrets(what)}`,
    reason: 'not-sent',
    notRetriedBecause: 'local',
    cause: error,
  };
}

/** Maximum number of problems in the details of a call. The `cause` has all of them. */
const MAX_SHOWN_PROBLEMS = 10;

/** Returns the first problems on one line. The message of GrpcConfigurationError has several lines, which would split a log entry. */
function describeProblems(problems: readonly ConfigurationProblem[]): string {
  const texts = problems.slice(0, MAX_SHOWN_PROBLEMS).map(({ path, message }) => `${path}: ${message}`);
  return texts.join('; ');
}

/** Failure of a call that a concurrency limit refuses, because the queue of the limit is full. */
export function limitFailure({ maxConcurrent, policy, adaptive }: PermitQueue): CallFailure {
  const cause = new ConcurrencyLimitError(maxConcurrent, policy.maxQueued);
  const remedy =
    adaptive === undefined ? 'raise maxConcurrentCalls or maxConcurrentCalls.queue' : 'raise maxConcurrentCalls.queue';
  return { code: cause.code, details: cause.message, reason: 'concurrency-limit', remedy, cause };
}

/**
 * Failure of a call whose deadline passed after `tookMs`. `during`, such as ', waiting to retry', is appended to the details; it may be
 * empty.
 */
export function deadlineFailure(tookMs: number, during: string): CallFailure {
  const details = `Deadline exceeded after ${seconds(tookMs)}${during}`;
  return { code: StatusCode.DEADLINE_EXCEEDED, details, reason: 'deadline' };
}

/** Time in milliseconds by which a deadline may seem to pass early. */
const EARLY_MS = 2;

/**
 * Adds to a deadline failure which `timeoutMs` has passed, and what successful calls of the method took lately. A call that ends before that
 * has its deadline from elsewhere: its option `deadline`, the inbound call, or its stream.
 */
export function withOrigin(
  failure: CallFailure,
  context: MethodContext,
  own: number | undefined,
  ageMs: number,
): CallFailure {
  if (failure.reason !== 'deadline') return failure;
  const { timeoutMs = Infinity, timeoutFrom } = context.policy;
  const shortest = Math.min(timeoutMs, own ?? Infinity);
  if (shortest - EARLY_MS > ageMs) return failure;
  const longer = own !== undefined && own > timeoutMs ? `, which is shorter than the call's ${String(own)}` : '';
  const from = `timeoutMs ${String(shortest)} of ${shortest === own ? 'the call' : timeoutFrom}${longer}`;
  const usual = context.statistics.usualLatency(context.client.clock.now());
  const took =
    usual && `successful calls lately took ${usual.p50Ms.toFixed(1)} ms (median) to ${usual.p99Ms.toFixed(1)} ms (p99)`;
  return { ...failure, remedy: [failure.remedy, from, took].filter((part) => part !== undefined).join('; ') };
}

/** Start of the details of an attempt that reached the deadline. */
const ATTEMPT_DEADLINE = /^Deadline exceeded after [\d.]+s/;

/**
 * Returns, in grpc-js's format, the details of a call whose attempt `number` reached the deadline. `ageMs` is the age of the call. The
 * details of the attempt contain only its own duration, `attemptMs`.
 */
export function deadlineDetails(end: AttemptEnd, number: number, attemptMs: number, ageMs: number): string {
  const { details, metadata } = end;
  const beganAfterMs = ageMs - attemptMs;
  // The server enforces the deadline, too. Its details stay unchanged.
  const isServers = metadata.get('content-type').length > 0;
  if (isServers || (number === 1 && beganAfterMs < 1)) return details;
  const earlier = number === 1 ? '' : `,previous attempts: ${String(number - 1)}`;
  const whole = `Deadline exceeded after ${seconds(ageMs)}${earlier},time to current attempt start: ${seconds(beganAfterMs)}`;
  return details.replace(ATTEMPT_DEADLINE, whole);
}

/** Formats a duration in seconds, such as '2.001s'. */
function seconds(ms: number): string {
  return `${(ms / 1_000).toFixed(3)}s`;
}
