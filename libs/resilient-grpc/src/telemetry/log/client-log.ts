import type { GrpcClientEvent } from '../../call/call-event.js';
import { withDoctor } from '../../policy/connect-failure/doctor-command.js';
import { LOST_IN_RESPONSE, RESET_IN_RESPONSE } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { Clock } from '../../time/clock.js';
import { CombinedLines } from './combined-lines.js';
import { endpointLine } from './endpoint-lines.js';
import { LogLine, type EventFields, type LogSink } from './log-line.js';
import { callsByPath, counted, duration, endedCalls, finishedCalls, listed, oneLine } from './log-text.js';
import { ONLY_READY_WAITS, OutageLog, type OutageImpact } from './outage-log.js';
import { LogLimiter, withRepeats } from './log-limiter.js';
import { attemptFields, attemptText, UnretriedCalls } from './unretried-calls.js';
import { unsentFieldLine } from './unsent-field-line.js';
import { untestedVersionLine } from './untested-version-line.js';

type EventOf<T extends GrpcClientEvent['type']> = Extract<GrpcClientEvent, { readonly type: T }>;

/**
 * Maximum length, in characters, of the remedy for a failed endpoint watch. The remedy may be a shell command with a manifest that contains
 * a user name from the API server, so its length is otherwise unbounded.
 */
const MAX_REMEDY_LENGTH = 2_000;

/** The client being logged, with the state that its log lines need. */
export interface LoggedClient {
  readonly name: string;
  readonly target: string;
  /** Returns the current state of the channel and of its calls, for the lines about outages. */
  readonly impact: () => OutageImpact;
  /** Shell command that examines the target; `undefined` if absent. */
  readonly doctorCommand?: string | undefined;
  /** Returns true if the `debug` level is enabled. Otherwise, debug messages are not built. */
  readonly isDebugEnabled: () => boolean;
}

/**
 * Writes the log lines of one client. Lines above `debug` report events that may need action, and the end of such events. Examples are
 * outages, dead connections, failed calls that may have had an effect, and unsuitable options. The rate of these lines is limited so that a
 * person can read them.
 */
export class ClientLog {
  private readonly lines: CombinedLines;
  private readonly outages: OutageLog;
  private readonly unretried: UnretriedCalls;
  private readonly repeats: LogLimiter<LogLine>;

  constructor(
    private readonly sink: Omit<LogSink, 'error'>,
    private readonly client: LoggedClient,
    clock: Clock,
  ) {
    const write = (line: LogLine) => {
      if (line.level === 'warn') sink.warn(line);
      else sink.log(line);
    };
    this.lines = new CombinedLines(write, clock);
    this.outages = new OutageLog(
      client.target,
      client.impact,
      client.doctorCommand,
      (level, text, fields) => {
        if (level === 'debug') this.debug(() => [text, fields]);
        else write(this.line(level, text, fields));
      },
      clock,
    );
    this.unretried = new UnretriedCalls((text, fields) => {
      this.warn(text, fields);
    }, clock);
    this.repeats = new LogLimiter(clock, (line, repeats, _isOfOthers, ageMs) => {
      this.lines.add(withRepeats(line, repeats, ageMs));
    });
  }

  take(event: GrpcClientEvent): void {
    switch (event.type) {
      case 'connectivity':
        this.debug(() => connectivity(event));
        return;
      case 'slow-connect':
        this.slowConnect(event);
        return;
      case 'stream-limit':
        this.streamLimit(event);
        return;
      case 'outage-start':
        this.lines.connectionUnstable();
        this.outages.started(event);
        return;
      case 'outage-grace-over':
        this.outages.graceEnded();
        return;
      case 'outage-end':
        this.lines.connectionUnstable();
        this.outages.ended(event);
        return;
      case 'attempt-end':
        this.attemptEnded(event);
        return;
      case 'connection-replaced':
        this.replaced(event);
        return;
      case 'keepalive-throttled':
        this.warn(
          `server rejected keepalive pings (too_many_pings); now pinging every ${duration(event.keepaliveTimeMs)}; ` +
            `servers of gRPC allow one ping per 5 minutes by default, and none without a call, so this may be rejected again; ` +
            `set keepalive.keepaliveTimeMs to the minimum of the server, such as 300000, or omit keepalive`,
          { event: event.type, keepaliveTimeMs: event.keepaliveTimeMs },
        );
        return;
      case 'addresses-limited':
        this.warn(
          `resolver reported ${String(event.reported)} addresses; the client uses ${String(event.used)}; ` +
            'put a load balancer in front of the servers, or resolve only a subset of the addresses',
          { event: event.type, reported: event.reported, used: event.used },
        );
        return;
      case 'addresses-changed':
        this.debug(() => addressesChanged(event));
        return;
      case 'lookup-failed':
        this.repeated(
          this.client.target,
          `${this.client.target}: DNS lookup failed; the client keeps its ${counted(event.addresses, 'address', 'addresses')} and resolves the ` +
            'name again; check the name and the name server',
          { event: event.type, addresses: event.addresses },
        );
        return;
      case 'endpoint-watch':
        this.endpointWatch(event);
        return;
      case 'throttle-too-small':
        this.warn(
          `serviceConfig.retryThrottling allows no retry: ${String(event.inFlight)} calls are in flight, and a lost ` +
            `connection takes a token for each; write maxTokens: ${String(Math.min(1_000, event.inFlight * 3))} or more, or remove retryThrottling`,
          { event: event.type, maxTokens: event.maxTokens, inFlight: event.inFlight },
        );
        return;
      case 'untested-version':
        // Bypasses the rate limit, because this event occurs at most once per process for each kind of object.
        this.sink.warn(untestedVersionLine(event, { client: this.client.name }));
        return;
      case 'unsent-field':
        // Bypasses the rate limit, because each field of a method is reported once, and a combined line would omit the names of fields.
        this.sink.warn(unsentFieldLine(event, 'request', { client: this.client.name }));
        return;
      case 'circuit':
        this.circuit(event);
        return;
      case 'concurrency-limit':
        this.concurrencyLimit(event);
        return;
      case 'drain':
        this.drain(event);
        return;
      case 'stream-resumed':
        this.debug(() => [
          `${event.path}: stream resumed after ${duration(event.gapMs)} (${counted(event.resumes, 'resume')} so far)`,
          { event: event.type, path: event.path, resumes: event.resumes, gapMs: Math.round(event.gapMs) },
        ]);
        return;
      case 'awaited-call':
        this.awaitedCall(event);
        return;
      case 'unanswered-calls':
        this.unanswered(event);
        return;
      case 'unread-stream':
        this.streamLeak(event);
        return;
      case 'requests-burst':
        this.repeated(
          event.path,
          `${event.path}: an Observable emitted ${String(event.messages)} requests at once, all buffered in memory; ` +
            'pass an Iterable or AsyncIterable instead, which is pulled',
          { event: event.type, path: event.path, messages: event.messages },
        );
        return;
      case 'connection':
        this.debug(() => connection(event));
        return;
      case 'endpoint':
        this.endpoint(event);
        return;
      case 'reachability':
        this.reachability(event);
        return;
      case 'call-start':
      case 'call-end':
        return;
    }
  }

  /** Writes the pending summaries except the one for flapping outages, and clears all timers. */
  close(): void {
    this.outages.close();
    this.unretried.close();
    this.repeats.close();
    this.lines.close();
  }

  private line(level: 'debug' | 'log' | 'warn', text: string, fields: EventFields): LogLine {
    return new LogLine(level, text, { client: this.client.name, ...fields });
  }

  private debug(build: () => readonly [text: string, fields: EventFields]): void {
    if (this.client.isDebugEnabled()) this.sink.debug(this.line('debug', ...build()));
  }

  private warn(text: string, fields: EventFields): void {
    this.lines.add(this.line('warn', text, fields));
  }

  /** Logs a warning at most once a minute for each event type and `kind`, with a count of the repeats. */
  private repeated(kind: string, text: string, fields: EventFields): void {
    this.repeats.log(`${fields.event} ${kind}`, this.line('warn', text, fields));
  }

  /** Returns '; to diagnose, run: ' and the doctor command; '' if absent. */
  private get diagnose(): string {
    return oneLine(withDoctor('', this.client.doctorCommand));
  }

  private slowConnect({ type, cause, waiting, connectTimeoutMs, graceMs }: EventOf<'slow-connect'>): void {
    const { target } = this.client;
    this.repeated(
      target,
      `no connection to ${target} yet: ${oneLine(cause)} (${waiting === 0 ? ONLY_READY_WAITS : `${counted(waiting, 'call')} waiting`}); a connection attempt times out after ` +
        `${duration(connectTimeoutMs)} (connectTimeoutMs), and calls then wait up to ${duration(graceMs)} (outageGraceMs), or until ` +
        `their deadline; check the server, the HTTP proxy if there is one, and the TLS settings of both sides${this.diagnose}`,
      { event: type, target, cause: oneLine(cause), waiting, connectTimeoutMs, graceMs },
    );
  }

  private streamLimit(event: EventOf<'stream-limit'>): void {
    const { target } = this.client;
    const { type, phase } = event;
    if (phase === 'end') {
      const { durationMs } = event;
      this.debug(() => [
        `the wait for streams ended after ${duration(durationMs)}`,
        { event: type, phase, durationMs: Math.round(durationMs) },
      ]);
      return;
    }
    const { waiting, connections, limit, maxConnectionsPerEndpoint, opensConnection } = event;
    const consequence = opensConnection
      ? 'another connection is being opened'
      : `calls wait until other calls end; raise maxConnectionsPerEndpoint (now ${String(maxConnectionsPerEndpoint)}) or the server's limit`;
    this.repeated(
      target,
      `${target} allows ${counted(limit, 'concurrent stream')} on ${counted(connections, 'connection')}, and all are in use ` +
        `(${counted(waiting, 'call')} waiting); ${consequence}`,
      { event: type, phase, target, waiting, connections, limit, maxConnectionsPerEndpoint, opensConnection },
    );
  }

  private endpointWatch(event: EventOf<'endpoint-watch'>): void {
    const { target } = this.client;
    const { type, change } = event;
    if (change === 'restored') {
      const failedMs = Math.round(event.failedMs);
      const line = this.line('log', `${target}: endpoint watch restored after ${duration(failedMs)}`, {
        event: type,
        change,
        failedMs,
      });
      this.repeats.log(`${type} ${change}`, line);
      return;
    }
    const { addresses } = event;
    const remedy = event.remedy === undefined ? undefined : oneLine(event.remedy, MAX_REMEDY_LENGTH);
    const cause = oneLine(event.cause);
    const kept =
      addresses === 0 ? 'no endpoints are known' : `the client keeps its ${counted(addresses, 'address', 'addresses')}`;
    this.repeated(
      change,
      `${target}: ${cause}; ${kept}, and the request is repeated at least every 30 s${remedy === undefined ? '' : `; ${remedy}`}`,
      { event: type, change, cause, addresses, remedy },
    );
  }

  private attemptEnded(event: EventOf<'attempt-end'>): void {
    const { attempt, next, reason, reachedServer } = event;
    if (attempt.code === StatusCode.OK) return;
    if (next !== 'none') {
      const text = next === 'resume' ? 'resuming the stream' : `retrying (${reason})`;
      this.debug(() => [`${attemptText(event)}; ${text}`, attemptFields(event)]);
      return;
    }
    if (reason === 'cancelled' || reason === 'deadline') return;
    // Only calls that may have had an effect are logged here, because outages are logged separately, and callers handle error statuses that
    // a server returns.
    const wasInterrupted = [LOST_IN_RESPONSE, RESET_IN_RESPONSE].some((text) => attempt.details.startsWith(text));
    if (reachedServer === 'maybe' || wasInterrupted) this.unretried.failed(event);
  }

  private replaced(event: EventOf<'connection-replaced'>): void {
    const { type, reason } = event;
    if (reason !== 'suspicion') {
      const why = REPLACEMENT_REASONS[reason];
      this.debug(() => [`connection replaced: ${why}`, { event: type, reason }]);
      return;
    }
    const { address, silentMs, timeouts, by } = event;
    const consequence =
      by === 'new-channel'
        ? 'calls use a new connection that is READY'
        : `calls use the other endpoints until the client reconnects to ${address}`;
    this.warn(
      `dead connection to ${address} closed: no bytes received for ${duration(silentMs)}, ${counted(timeouts, 'call')} timed ` +
        `out, and a probe was not answered; ${consequence}`,
      { event: type, reason, address, silentMs: Math.round(silentMs), timeouts, by },
    );
  }

  private reachability(event: EventOf<'reachability'>): void {
    const { type, change, address } = event;
    const failedMs = Math.round(event.failedMs);
    if (change === 'restored') {
      const text = `endpoint ${address} is connected again after ${duration(failedMs)}`;
      this.lines.add(this.line('log', text, { event: type, change, address, failedMs }));
      return;
    }
    const cause = oneLine(event.cause);
    this.warn(
      `endpoint ${address} unreachable for ${duration(failedMs)}: ${cause}; calls use other connections; ` +
        `${event.remedy}${this.diagnose}`,
      { event: type, change, address, cause, failedMs },
    );
  }

  private endpoint(event: EventOf<'endpoint'>): void {
    const [level, text, fields] = endpointLine(event);
    if (level === 'debug') this.debug(() => [text, fields]);
    // Each kind of change of an endpoint is logged at most once a minute.
    else this.repeats.log(`endpoint ${event.address} ${event.change}`, this.line(level, text, fields));
  }

  private circuit(event: EventOf<'circuit'>): void {
    const { type, path, from, to, reason, failures, total, breakMs } = event;
    const fields = { event: type, path, from, to, reason, failures, total, breakMs: Math.round(breakMs) };
    if (to === 'open') {
      const share = `${String(failures)} of ${String(total)} attempts failed`;
      this.warn(`${path}: circuit open for ${duration(breakMs)}: ${share}; calls fail immediately`, fields);
    } else if (to === 'closed') {
      this.lines.add(this.line('log', `${path}: circuit closed; calls are admitted`, fields));
    } else {
      this.debug(() => [`${path}: circuit half-open; one call is admitted`, fields]);
    }
  }

  /** Logs the reduction of an adaptive limit. An increase is logged at debug level, because no action is needed. */
  private concurrencyLimit(event: EventOf<'concurrency-limit'>): void {
    const { type, path, from, to, latencyMs, unloadedLatencyMs, overloaded } = event;
    const subject = path ?? this.client.target;
    const fields = { event: type, path, from, to, latencyMs, unloadedLatencyMs, overloaded };
    if (to > from) {
      this.debug(() => [`${subject}: concurrency limit raised from ${String(from)} to ${String(to)}`, fields]);
      return;
    }
    const cause =
      overloaded || latencyMs === undefined || unloadedLatencyMs === undefined
        ? 'more than 10% of the latest calls timed out or were refused'
        : `calls take ${duration(latencyMs)}, versus ${duration(unloadedLatencyMs)} without load`;
    const text = `${subject}: concurrency limit reduced from ${String(from)} to ${String(to)}: ${cause}; calls above the limit are queued, up to maxQueuedCalls`;
    this.repeats.log(`${type} ${subject}`, this.line('log', text, fields));
  }

  private awaitedCall({ type, path, awaitedAt }: EventOf<'awaited-call'>): void {
    const place = awaitedAt === undefined ? '' : ` at ${awaitedAt}`;
    this.warn(
      `${path}: the call${place} was awaited but not subscribed to, so it was not made; write await firstValueFrom(call)`,
      { event: type, path, awaitedAt },
    );
  }

  private unanswered({ type, address, paths, oldestMs, remedy }: EventOf<'unanswered-calls'>): void {
    const calls = Object.values(paths).reduce((sum, count) => sum + count, 0);
    this.repeated(
      address,
      `${address} has not answered ${callsByPath(Object.entries(paths))} for up to ${duration(oldestMs)}; the calls have no ` +
        `deadline and may never end: set timeoutMs; ${oneLine(remedy)}`,
      { event: type, address, calls, oldestMs: Math.round(oldestMs) },
    );
  }

  /** Logs at most one line a minute per method and call site, because a leak usually affects many streams from the same call site. */
  private streamLeak({ type, path, openMs, unreadMs, openedAt }: EventOf<'unread-stream'>): void {
    const place = openedAt === undefined ? 'the client logs where later streams were opened' : `opened at ${openedAt}`;
    this.repeated(
      `${path} ${openedAt ?? ''}`,
      `${path}: stream open for ${duration(openMs)}, unread for ${duration(unreadMs)}; ${place}`,
      { event: type, path, openMs: Math.round(openMs), unreadMs: Math.round(unreadMs), openedAt },
    );
  }

  /** Logs the duration only as a field, because the line that sums up all clients reports it. */
  private drain(event: EventOf<'drain'>): void {
    const { type, phase, running, finished, failed, completed, ended, cancelled, cutOffByPath, durationMs } = event;
    if (phase === 'begin') {
      this.debug(() => [`draining: ${counted(running, 'call')} running`, { event: type, phase, running }]);
      return;
    }
    const ms = Math.round(durationMs);
    const fields = { event: type, phase, finished, failed, completed, ended, cancelled, durationMs: ms };
    const paths = Object.entries(cutOffByPath);
    const open = paths.length === 0 ? '' : ` (at the timeout: ${callsByPath(paths)})`;
    const cut = cancelled === 0 ? '' : `, ${String(cancelled)} cut off${open}`;
    const done = completed === 0 ? '' : `, ${counted(completed, 'stream')} completed`;
    const text = `drained: ${finishedCalls(finished, failed)}${done}${endedCalls(ended)}${cut}`;
    if (cancelled === 0) this.debug(() => [text, fields]);
    else this.warn(text, fields);
  }
}

/** Log texts for the reasons for a replacement. */
const REPLACEMENT_REASONS = {
  age: 'maximum age reached',
  credentials: 'new credentials',
  'load-balancing': 'load balancing changed',
  'health-check': 'health check changed',
} as const;

/** Maximum number of added addresses, and of removed addresses, that a log line lists. */
const MAX_SHOWN_ADDRESSES = 5;

/** Describes a change of the target's addresses. */
function addressesChanged({
  type,
  added,
  removed,
  total,
}: EventOf<'addresses-changed'>): readonly [string, EventFields] {
  const shown = (verb: string, addresses: readonly string[]): readonly string[] =>
    addresses.length === 0
      ? []
      : [`${verb} ${listed(addresses, MAX_SHOWN_ADDRESSES, (count) => counted(count, 'other'))}`];
  const text = [...shown('added', added), ...shown('removed', removed)].join('; ');
  return [
    `addresses changed: ${text}; ${String(total)} in use`,
    { event: type, added: added.length, removed: removed.length, total },
  ];
}

/** Describes a change of the channel's connectivity state. */
function connectivity({ type, from, to, cause }: EventOf<'connectivity'>): readonly [string, EventFields] {
  const why = cause === undefined ? undefined : oneLine(cause);
  return [`${from} → ${to}${why === undefined ? '' : `: ${why}`}`, { event: type, from, to, cause: why }];
}

/** Describes a connection event or a failed connection attempt. */
function connection(event: EventOf<'connection'>): readonly [string, EventFields] {
  const { type, change } = event;
  switch (event.change) {
    case 'connected': {
      const { address, callPath } = event;
      const text = `connected to ${address}${callPath.direct ? '' : `; calls pass through grpc-js's channel (${callPath.reason})`}`;
      return [text, { event: type, change, address, ...callPath }];
    }
    case 'failed': {
      const { address } = event;
      const cause = oneLine(event.cause);
      return [
        `could not connect${address === undefined ? '' : ` to ${address}`}: ${cause}`,
        { event: type, change, address, cause },
      ];
    }
    case 'ended':
    case 'closed': {
      const { address, livedMs, reason } = event;
      const lived = duration(livedMs);
      return [
        event.change === 'closed'
          ? `connection to ${address} closed by this client after ${lived}`
          : `connection to ${address} ended after ${lived}${reason === 'unknown' ? '' : `: ${reason}`}`,
        { event: type, change, address, livedMs: Math.round(livedMs), reason },
      ];
    }
  }
}
