import type { GrpcClientEvent, UnsentField, UntestedVersion } from '../../call/call-event.js';
import { FLAP_COUNT } from '../../policy/outage/next-outage.js';
import type { Clock, Timer } from '../../time/clock.js';
import { EventLog, LOG_INTERVAL_MS, type EventLine, type EventTable } from './event-log.js';
import type { LogSink } from './library-logger.js';
import { withDoctor } from '../../policy/connect-failure/connect-failures.js';
import type { EjectionEvidence } from '../../policy/ejection/next-ejection.js';
import { LOST_IN_RESPONSE, RESET_IN_RESPONSE } from '../../policy/evidence/classify.js';
import { StatusCode, statusName } from '../../status/status-code.js';
import { callsByPath, counted, drainText, duration, oneLine } from './log-text.js';

/** The cause of an outage, as far as it is known. */
export interface OutageCause {
  readonly target: string;
  readonly cause: string;
  readonly kind?: string;
  readonly remedy?: string;
  readonly doctorCommand?: string | undefined;
}

type RawEvent<T extends GrpcClientEvent['type']> = Extract<GrpcClientEvent, { readonly type: T }>;
type Outage = Omit<RawEvent<'outage-start'>, 'type'> & OutageCause;
type OutageCalls = Pick<RawEvent<'outage-end'>, 'waitedCalls' | 'abandonedCalls' | 'failedCalls'>;

/** An event of a client, with the events of which the lines about outages consist. */
export type ClientLogEvent =
  | Exclude<GrpcClientEvent, { readonly type: 'outage-start' | 'outage-grace-over' | 'outage-end' }>
  /** `longerGraceMs` is a grace period that would have been long enough, if calls failed because of a restart that took longer. */
  | (RawEvent<'outage-end'> & { readonly longerGraceMs?: number })
  | (Outage & { readonly type: 'outage-start' })
  | (Outage & { readonly type: 'outage'; readonly waiting: number; readonly failed: number })
  | (Outage & { readonly type: 'outage-grace-over'; readonly durationMs: number })
  /** `flaps` includes all outages since the server began to flap, up to the time at which the line is written. */
  | (Outage & { readonly type: 'flapping'; readonly flaps: OutageCalls & { readonly outages: number } })
  | (Pick<RawEvent<'outage-end'>, 'client' | 'at'> & {
      readonly type: 'flapping-end';
      readonly flaps: OutageCalls & { readonly outages: number };
    });

export type EventOf<T extends ClientLogEvent['type']> = Extract<ClientLogEvent, { readonly type: T }>;

export type LoggedTarget = Pick<OutageCause, 'target' | 'doctorCommand'>;

/** End of the lines to alert on. */
const RUNBOOK = '; see node_modules/nestjs-resilient-grpc/docs/operate/runbook.md';
const ONLY_READY_WAITS = 'only waitForReady() is waiting';

/** The line of each event of a client. Lines above `debug` are about events that may need action, and about the end of such events. */
export const CLIENT_LINES: EventTable<ClientLogEvent, LoggedTarget> = {
  'call-start': undefined,
  'call-end': undefined,
  connectivity: {
    // Further attempts to connect say nothing new.
    level: ({ from, to }) =>
      (from === 'TRANSIENT_FAILURE' && to === 'CONNECTING') || (from === 'CONNECTING' && to === 'TRANSIENT_FAILURE')
        ? undefined
        : 'debug',
    text: ({ from, to, cause }) => `${from} → ${to}${cause === undefined ? '' : `: ${cause}`}`,
  },
  connection: { level: 'debug' },
  'dead-connection': {
    text: (event, client) =>
      `no response from ${event.address}: ${silenceOf(event)}; calls stay on this connection until another one is READY; check ` +
      `whether the server or its node is frozen or cut off${diagnosis(client)}`,
  },
  'connection-replaced': {
    level: ({ reason }) => (reason === 'suspicion' ? 'warn' : 'debug'),
    text: (event) => {
      if (event.reason !== 'suspicion') return undefined;
      const { address, by } = event;
      const consequence =
        by === 'new-channel'
          ? 'calls use a new connection that is READY'
          : `calls use the other endpoints until the client reconnects to ${address}`;
      return `dead connection to ${address} closed: ${silenceOf(event)}; ${consequence}`;
    },
  },
  'slow-connect': {
    text: ({ cause, waiting, connectTimeoutMs, graceMs }, client) =>
      `no connection to ${client.target} yet: ${cause} (${waiting === 0 ? ONLY_READY_WAITS : `${counted(waiting, 'call')} waiting`}); ` +
      `a connection attempt times out after ${duration(connectTimeoutMs)} (connections.connectTimeoutMs), and calls then wait up to ` +
      `${duration(graceMs)} (outageGraceMs), or until their deadline; check the server, the HTTP proxy if there is one, and the TLS ` +
      `settings of both sides${diagnosis(client)}`,
    fields: (_event, { target }) => ({ target }),
  },
  'stream-limit': {
    level: ({ phase }) => (phase === 'end' ? 'debug' : 'warn'),
    text: (event, { target }) => {
      if (event.phase === 'end') return undefined;
      const { waiting, connections, limit, maxConnectionsPerSubchannel, opensConnection } = event;
      const consequence = opensConnection
        ? 'another connection is being opened'
        : `calls wait until other calls end; raise maxConnectionsPerSubchannel of the service config (now ${String(maxConnectionsPerSubchannel)}) or the server's limit`;
      return (
        `${target} allows ${counted(limit, 'concurrent stream')} on ${counted(connections, 'connection')}, and all are in use ` +
        `(${counted(waiting, 'call')} waiting); ${consequence}`
      );
    },
    fields: (_event, { target }) => ({ target }),
  },
  'outage-start': { level: 'debug' },
  outage: {
    text: (event) => `outage: ${causeOf(event)}${remedyOf(event)}; ${waitOf(event)}${diagnosis(event)}`,
  },
  'outage-grace-over': {
    text: (event) =>
      `outage has lasted ${duration(event.durationMs)}: ${causeOf(event)}; calls fail immediately (UNAVAILABLE), except those ` +
      `with waitForReady: true${remedyOf(event, '; check the server')}; the client keeps trying to reconnect${diagnosis(event)}${RUNBOOK}`,
  },
  'outage-end': {
    level: 'log',
    text: (event) =>
      `reconnected after ${duration(event.durationMs)}, ${counted(event.connectAttempts, 'failed attempt')}; ${callsOf(event)}` +
      (event.longerGraceMs === undefined
        ? ''
        : `; with outageGraceMs: ${String(event.longerGraceMs)}, calls would have waited for the server`),
    fields: (_event, { target }) => ({ target }),
  },
  flapping: {
    text: ({ flaps, ...event }) =>
      `flapping: ${counted(flaps.outages, 'outage')} in a ${flaps.outages > FLAP_COUNT ? 'row' : 'minute'} ` +
      `(${causeOf(event)}); calls wait up to outageGraceMs for all of them together, and then fail immediately (${callsOf(flaps)}); check whether ` +
      `the server keeps restarting or a proxy closes its connections${RUNBOOK}`,
    fields: ({ flaps }) => flaps,
    isAlone: true,
  },
  'flapping-end': {
    level: 'log',
    text: ({ flaps }) => `stable for a minute after ${counted(flaps.outages, 'outage')} (${callsOf(flaps)})`,
    fields: ({ flaps }) => flaps,
  },
  'attempt-end': {
    level: ({ attempt, next, reason, reachedServer }) => {
      if (attempt.code === StatusCode.OK) return undefined;
      if (next !== 'none') return 'debug';
      if (reason === 'cancelled' || reason === 'deadline') return undefined;
      // Only calls that may have had an effect are logged here, because outages are logged separately, and callers handle error statuses that
      // a server returns.
      const wasInterrupted = [LOST_IN_RESPONSE, RESET_IN_RESPONSE].some((text) => attempt.details.startsWith(text));
      return reachedServer === 'maybe' || wasInterrupted ? 'warn' : undefined;
    },
    text: ({ path, attempt, next, reason, reachedServer }) => {
      const peer = attempt.peer === undefined ? '' : ` at ${attempt.peer}`;
      const failure = `${path}${peer}: ${statusName(attempt.code)}: ${attempt.details}`;
      if (next !== 'none') return `${failure}; ${next} (${reason})`;
      if (reachedServer === 'yes')
        return `${failure}; neither retried nor resumed; to continue a stream after a lost connection or a reset, use resumable() from nestjs-resilient-grpc/operators`;
      const remedy = '; check whether it took effect, or declare the method idempotent if it is safe to repeat';
      return (
        `${failure}; the call may have reached the server and was not retried${attempt.number > 1 ? ' again' : ''} (${reason})` +
        (reason === 'not-safe-to-repeat' ? remedy : '')
      );
    },
    fields: ({ attempt }) => ({
      ...attempt,
      number: undefined,
      attempt: attempt.number,
      code: statusName(attempt.code),
    }),
    about: ({ path, reason }) => `${path} (${reason})`,
    key: () => '',
  },
  'keepalive-throttled': {
    text: ({ keepaliveTimeMs }) =>
      `server rejected keepalive pings (too_many_pings); now pinging every ${duration(keepaliveTimeMs)}; ` +
      `servers of gRPC allow one ping per 5 minutes by default, and none without a call, so this may be rejected again; ` +
      `set keepalive.keepaliveTimeMs to the minimum of the server, such as 300000, or omit keepalive`,
  },
  'addresses-limited': {
    text: ({ reported, used }) =>
      `resolver reported ${String(reported)} addresses; the client uses ${String(used)}; ` +
      'put a load balancer in front of the servers, or resolve only a subset of the addresses',
  },
  'addresses-changed': { level: 'debug' },
  'lookup-failed': {
    text: ({ addresses }, { target }) =>
      `${target}: DNS lookup failed; ${keptAddresses(addresses)} and resolves the name again; check the name and the name server`,
  },
  'endpoint-watch': {
    level: ({ change }) => (change === 'restored' ? 'log' : 'warn'),
    text: (event, { target }) => {
      if (event.change === 'restored') return `${target}: endpoint watch restored after ${duration(event.failedMs)}`;
      const kept = event.addresses === 0 ? 'no endpoints are known' : keptAddresses(event.addresses);
      return `${target}: ${event.cause}; ${kept}, and the request is repeated at least every 30 s${remedyOf(event)}`;
    },
  },
  reachability: {
    level: ({ change }) => (change === 'restored' ? 'log' : 'warn'),
    text: (event, client) => {
      const { address, failedMs } = event;
      if (event.change === 'restored') return `endpoint ${address} is connected again after ${duration(failedMs)}`;
      return `endpoint ${address} unreachable for ${duration(failedMs)}: ${event.cause}; calls use other connections${remedyOf(event)}${diagnosis(client)}`;
    },
  },
  endpoint: {
    level: (event) => {
      if (event.change !== 'health') return ENDPOINT_LEVELS[event.change];
      // On a new connection, SERVING is the expected first report.
      return event.from === 'pending' && event.to === 'serving' ? 'debug' : HEALTH[event.to][0];
    },
    text: (event) => `endpoint ${event.address} ${endpointText(event)}`,
    fields: (event) => ('evidence' in event ? event.evidence : {}),
  },
  circuit: {
    level: ({ to }) => CIRCUIT_LEVELS[to],
    text: ({ path, to, failures, total, breakMs }) => {
      if (to !== 'open')
        return `${path}: circuit ${to}; ${to === 'closed' ? 'calls are admitted' : 'one call is admitted'}`;
      return `${path}: circuit open for ${duration(breakMs)}: ${String(failures)} of ${String(total)} attempts failed; calls fail immediately`;
    },
    key: ({ path, to }) => `${path} ${to}`,
  },
  'concurrency-limit': {
    level: ({ from, to }) => (to > from ? 'debug' : 'log'),
    text: ({ path, from, to, latencyMs, unloadedLatencyMs, overloaded }, { target }) => {
      const change = `${path ?? target}: concurrency limit ${to > from ? 'raised' : 'reduced'} from ${String(from)} to ${String(to)}`;
      if (to > from) return change;
      const cause =
        overloaded || latencyMs === undefined || unloadedLatencyMs === undefined
          ? 'more than 10% of the latest calls timed out or were refused'
          : `calls take ${duration(latencyMs)}, versus ${duration(unloadedLatencyMs)} without load`;
      return `${change}: ${cause}; calls above the limit are queued, up to maxConcurrentCalls.queue`;
    },
  },
  'stream-resumed': { level: 'debug' },
  'awaited-call': {
    text: ({ path, awaitedAt }) =>
      `${path}: the call${awaitedAt === undefined ? '' : ` at ${awaitedAt}`} was awaited but not subscribed to, so it was not made; ` +
      'write await firstValueFrom(call)',
    about: ({ path, awaitedAt = '' }) => `${path} ${awaitedAt}`,
  },
  'unanswered-calls': {
    text: ({ address, paths, oldestMs, remedy }) =>
      `${address} has not answered ${callsByPath(Object.entries(paths))} for up to ${duration(oldestMs)}; the calls have no ` +
      `deadline and may never end: set timeoutMs; ${remedy}`,
    fields: ({ paths }) => ({ calls: Object.values(paths).reduce((sum, count) => sum + count, 0) }),
  },
  'unread-stream': {
    text: ({ path, openMs, unreadMs, openedAt }) =>
      `${path}: stream open for ${duration(openMs)}, unread for ${duration(unreadMs)}; ` +
      (openedAt === undefined ? 'the client logs where later streams were opened' : `opened at ${openedAt}`),
    about: ({ path, openedAt = '' }) => `${path} ${openedAt}`,
  },
  'requests-burst': {
    text: ({ path, messages }) =>
      `${path}: an Observable emitted ${String(messages)} requests at once, all buffered in memory; ` +
      'pass an Iterable or AsyncIterable instead, which is pulled',
  },
  drain: {
    level: ({ cancelled }) => (cancelled === 0 ? 'debug' : 'warn'),
    text: (event) => (event.phase === 'begin' ? undefined : `drained: ${drainText(event)}`),
  },
  'untested-version': untestedVersionLine(),
  'unsent-field': unsentFieldLine('request'),
  'once-unsupported': {
    text: ({ path }) =>
      `${path}: the server takes no keys, so a lost call is not sent again; put @Once() on its handler, and let proxies pass the path ` +
      `${path}.once`,
  },
};

function silenceOf({ silentMs, timeouts }: { readonly silentMs: number; readonly timeouts: number }): string {
  return `no bytes received for ${duration(silentMs)}, ${counted(timeouts, 'call')} timed out, and a probe was not answered`;
}

export function untestedVersionLine(): EventLine<UntestedVersion, unknown> {
  return {
    text: ({ installed, tested, missing, lost }) => {
      const lacks =
        missing.length === 0 ? 'is outside the tested versions' : `lacks private names (${missing.join(', ')})`;
      const disabled = lost.length === 0 ? '' : `; disabled: ${lost.join('; ')}`;
      return `${installed} ${lacks}${disabled}; calls continue; tested with ${tested}`;
    },
    about: ({ missing }) => missing.join(', '),
    isAlone: true,
  };
}

/** The line about a value of a message that the serializer omits or replaces. */
export function unsentFieldLine(message: 'request' | 'response'): EventLine<UnsentField, unknown> {
  return {
    text: (event) => {
      const { path, messageType, field } = event;
      if (!('suggestion' in event)) {
        const subject = field === '' ? `the ${message}` : `field '${field}' of the ${message}`;
        return `${path}: ${subject} (${messageType}): ${event.problem}; the serializer sends ${event.sent} instead`;
      }
      const { suggestion } = event;
      const isSnakeCase = field.slice(field.lastIndexOf('.') + 1).includes('_') && !suggestion.includes('_');
      const alternative = isSnakeCase ? ' To use the names of the .proto file, set loader: { keepCase: true }' : '';
      return (
        `${path}: the ${message} contains '${field}', but ${messageType} has no such field, so the value is not sent; ` +
        `did you mean '${suggestion}'?${alternative}`
      );
    },
    about: ({ path, field }) => `${path} ${field}`,
    isAlone: true,
  };
}

const ENDPOINT_LEVELS = { ejected: 'warn', returned: 'log', spared: 'debug' } as const;
const CIRCUIT_LEVELS = { open: 'warn', closed: 'log', 'half-open': 'debug' } as const;

const HEALTH = {
  pending: ['debug', 'has not reported its health yet'],
  serving: ['log', 'reports SERVING and gets calls'],
  'not-serving': ['log', 'does not report SERVING and gets no calls'],
  'unknown-service': [
    'warn',
    'reports the service in healthCheckConfig as unknown and gets no calls; write the full name of a service, as in the proto',
  ],
  unanswered: ['warn', 'does not respond to the health Watch and gets no calls'],
  failed: ['warn', 'ended the health Watch with an error and gets no calls; the Watch is repeated'],
  unimplemented: ['log', 'does not implement grpc.health.v1.Health and counts as serving'],
} as const;

function endpointText(event: EventOf<'endpoint'>): string {
  switch (event.change) {
    case 'ejected':
      return `ejected for ${duration(event.forMs)}: ${evidenceText(event.evidence)}; calls use the other endpoints`;
    case 'returned': {
      const why = event.reason === 'panic' ? ', earlier than planned, because too few other endpoints are usable' : '';
      return `gets calls again ${duration(event.ejectedMs)} after its ejection${why}`;
    }
    case 'spared':
      return `not ejected (${event.limit}): ${evidenceText(event.evidence)}`;
    case 'health':
      return HEALTH[event.to][1];
  }
}

function evidenceText(evidence: EjectionEvidence): string {
  switch (evidence.reason) {
    case 'consecutive-failures':
      return `${String(evidence.failures)} consecutive attempts failed`;
    case 'failure-percentage':
      return `${String(evidence.failures)} of ${counted(evidence.attempts, 'attempt')} failed`;
    case 'success-rate':
      return `${String(evidence.failures)} of ${counted(evidence.attempts, 'attempt')} failed, a larger share than at the other endpoints`;
    case 'latency':
      return `median latency ${duration(evidence.medianMs)}, versus ${duration(evidence.othersMs)} at the other endpoints`;
    case 'no-response':
      return `no response for ${duration(evidence.silentMs)} to ${counted(evidence.unanswered, 'attempt')}`;
  }
}

/** Returns the cause, prefixed with the target if it does not contain it, because a bare IP address does not identify the service. */
function causeOf({ cause, target }: OutageCause): string {
  return cause.includes(target) ? cause : `${target}: ${cause}`;
}

/** Returns '; ' and the remedy, or `otherwise` if no remedy is known. */
function remedyOf({ remedy }: Pick<OutageCause, 'remedy'>, otherwise = ''): string {
  return remedy === undefined ? otherwise : `; ${remedy}`;
}

/** Returns '; to diagnose, run: ' and the doctor command; '' if absent. */
function diagnosis({ doctorCommand }: LoggedTarget): string {
  return oneLine(withDoctor('', doctorCommand));
}

/** Describes what calls do during the grace period. Some may have failed, namely those with `waitForReady: false`. */
function waitOf({ waiting, failed, graceMs }: EventOf<'outage'>): string {
  const also = failed === 0 ? '' : `, ${String(failed)} failed`;
  if (waiting > 0)
    return `calls wait up to ${duration(graceMs)} or until their deadline (${String(waiting)} waiting${also})`;
  return failed === 0 ? ONLY_READY_WAITS : `${counted(failed, 'call')} failed, and none is waiting`;
}

function callsOf({ waitedCalls, abandonedCalls, failedCalls }: OutageCalls): string {
  const were = abandonedCalls === 1 ? 'was' : 'were';
  const ended = abandonedCalls === 0 ? '' : `, ${String(abandonedCalls)} timed out or ${were} cancelled`;
  return `${counted(waitedCalls, 'call')} waited${ended}, ${String(failedCalls)} failed`;
}

function keptAddresses(count: number): string {
  return `the client keeps its ${counted(count, 'address', 'addresses')}`;
}

/** Maximum number of lines per minute, besides those about outages. */
const MAX_LINES = 4;
/** Maximum number of these lines during the minute after an outage starts or ends, when most events have the same cause. */
const MAX_LINES_WHILE_UNSTABLE = 1;
/** Minimum age, in milliseconds, of an outage that gets its own warning. Outages during ordinary restarts are usually shorter. */
const OUTAGE_WARNING_DELAY_MS = 1_500;
/** The same for an outage of a flapping server. */
const FLAPPING_WARNING_DELAY_MS = 5_000;
/** Maximum length of an outage, in milliseconds, that counts as a restart for which callers might wait. */
const MAX_RESTART_MS = 20_000;
const NO_FLAPS = { outages: FLAP_COUNT - 1, waitedCalls: 0, abandonedCalls: 0, failedCalls: 0 };

export interface LoggedClient extends LoggedTarget {
  /** Returns the current state of the channel and of its calls, for the lines about outages. */
  readonly impact: () => OutageImpact;
}

/** Calls affected by an outage, and its latest cause. */
export interface OutageImpact {
  /** The latest failed or slow attempt to connect; `undefined` if the channel is connected, or if there was no such attempt. */
  readonly failure?: Pick<OutageCause, 'cause' | 'kind' | 'remedy'> | undefined;
  /** True if the channel is READY. The outage then lasts until a response arrives, or until the connection has been open for a second. */
  readonly isConnected: boolean;
  readonly waiting: number;
  /** True if the client's `waitForReady()`, which is not a call, is waiting. */
  readonly awaitsReady?: boolean | undefined;
  /** Total number of calls of the client that failed because no connection was available. */
  readonly failed: number;
}

interface CurrentOutage {
  readonly start: RawEvent<'outage-start'>;
  readonly startedAt: number;
  /** Value of `OutageImpact.failed` when the outage started. */
  readonly failedBefore: number;
  readonly warningDelayMs: number;
  /** True if the warning that calls are waiting has been logged or must be skipped. */
  skipsWaitWarning: boolean;
  /** True if a call has failed because the grace period is over. */
  isGraceOver: boolean;
  reported?: 'outage' | 'outage-grace-over';
}

/**
 * Writes the log lines of one client. An outage gets at most three lines above debug level. The first is a warning when the outage is at
 * least 1.5 s old, if a call or `waitForReady()` is waiting, or a call has failed. The second is a warning when the grace period is over and
 * calls fail. The third reports the end of the outage. An outage that starts within a minute of an outage warning gets only the second and
 * third lines. A flapping server gets one line a minute. One of its outages a minute gets the second and third lines, if it lasts 5 s.
 */
export class ClientLog {
  private readonly log: EventLog<ClientLogEvent, LoggedTarget>;
  private unstableUntil = 0;
  private outage: CurrentOutage | undefined;
  private timer: Timer | undefined;
  private reportedAt = -Infinity;
  /** Numbers of outages and calls since the server began to flap. */
  private flaps = { ...NO_FLAPS };

  constructor(
    sink: LogSink,
    private readonly client: LoggedClient,
    private readonly clock: Clock,
  ) {
    const maxLines = () => (clock.now() < this.unstableUntil ? MAX_LINES_WHILE_UNSTABLE : MAX_LINES);
    this.log = new EventLog<ClientLogEvent, LoggedTarget>(CLIENT_LINES, client, sink, clock, maxLines);
  }

  take(event: GrpcClientEvent): void {
    if (event.type === 'outage-start') this.started(event);
    else if (event.type === 'outage-grace-over') this.graceEnded();
    else if (event.type === 'outage-end') this.ended(event);
    else this.log.take(event);
  }

  close(): void {
    this.timer?.clear();
    this.log.close();
  }

  private started(start: RawEvent<'outage-start'>): void {
    const { flapping, graceMs } = start;
    const startedAt = this.clock.now();
    this.unstableUntil = startedAt + LOG_INTERVAL_MS;
    const skipsWaitWarning = flapping || startedAt - this.reportedAt < LOG_INTERVAL_MS;
    const warningDelayMs = flapping
      ? Math.max(FLAPPING_WARNING_DELAY_MS, this.reportedAt + LOG_INTERVAL_MS - startedAt)
      : OUTAGE_WARNING_DELAY_MS;
    const failedBefore = this.client.impact().failed;
    this.outage = { start, startedAt, failedBefore, warningDelayMs, skipsWaitWarning, isGraceOver: false };
    this.log.write(this.explained(start));
    if (flapping) {
      this.flaps.outages += 1;
      this.log.take({ ...this.explained(start), flaps: this.flaps, type: 'flapping' });
    } else this.flaps = { ...NO_FLAPS };
    this.scheduleCheck(Math.max(warningDelayMs, skipsWaitWarning ? graceMs : 0));
  }

  /** Logs at once if the outage is old enough for a warning, because the process may exit as soon as a call fails. */
  private graceEnded(): void {
    const { outage } = this;
    if (outage === undefined) return;
    outage.isGraceOver = true;
    if (this.clock.now() - outage.startedAt >= outage.warningDelayMs) this.check();
  }

  private ended(end: RawEvent<'outage-end'>): void {
    const { outage } = this;
    const { durationMs, waitedCalls, abandonedCalls, failedCalls } = end;
    this.outage = undefined;
    this.timer?.clear();
    this.unstableUntil = this.clock.now() + LOG_INTERVAL_MS;
    this.flaps.waitedCalls += waitedCalls;
    this.flaps.abandonedCalls += abandonedCalls;
    this.flaps.failedCalls += failedCalls;
    // Calls can also fail, for example, right before the outage ends.
    const isNotable =
      abandonedCalls + failedCalls > 0 && durationMs >= (outage?.warningDelayMs ?? OUTAGE_WARNING_DELAY_MS);
    const isTooLong = outage?.isGraceOver === true && failedCalls > 0 && durationMs <= MAX_RESTART_MS;
    const line = isTooLong ? { ...end, longerGraceMs: Math.ceil((1.2 * durationMs) / 1_000) * 1_000 } : end;
    this.log.write(line, isNotable || outage?.reported !== undefined ? 'log' : 'debug');
    if (this.flaps.outages < FLAP_COUNT) return;
    this.timer = this.clock.setTimer(() => {
      this.log.write({ client: end.client, at: end.at + LOG_INTERVAL_MS, type: 'flapping-end', flaps: this.flaps });
      this.flaps = { ...NO_FLAPS };
    }, LOG_INTERVAL_MS);
  }

  private scheduleCheck(ms: number): void {
    this.timer?.clear();
    this.timer = this.clock.setTimer(this.check, ms);
  }

  private readonly check = (): void => {
    const { outage } = this;
    if (outage === undefined || outage.reported === 'outage-grace-over') return;
    const { start, startedAt, failedBefore, isGraceOver, skipsWaitWarning } = outage;
    const { waiting, awaitsReady = false, failed: failedSoFar, isConnected } = this.client.impact();
    const failed = failedSoFar - failedBefore;
    // Until the grace period is over, postpones the warning while nothing waits and no call has failed. Also postpones it while the channel
    // is connected, because the outage is then about to end.
    if (!isGraceOver && (isConnected || (waiting === 0 && failed === 0 && !awaitsReady))) {
      this.scheduleCheck(OUTAGE_WARNING_DELAY_MS);
      return;
    }
    this.reportedAt = this.clock.now();
    const durationMs = this.reportedAt - startedAt;
    if (isGraceOver || skipsWaitWarning || durationMs >= start.graceMs) {
      outage.reported = 'outage-grace-over';
      this.log.write({ ...this.explained(start), type: outage.reported, durationMs });
      return;
    }
    outage.reported = 'outage';
    outage.skipsWaitWarning = true;
    this.log.write({ ...this.explained(start), type: outage.reported, waiting, failed });
    this.scheduleCheck(start.graceMs - durationMs);
  };

  private explained(start: RawEvent<'outage-start'>): EventOf<'outage-start'> {
    const { target, doctorCommand, impact } = this.client;
    return { ...start, ...impact().failure, target, doctorCommand };
  }
}
