import type { Attributes, BatchObservableCallback, Meter } from '@opentelemetry/api';
import type { ConnectionEnd, GrpcClientEvent } from '../call/call-event.js';
import type { WaitEnd, ClientFigures } from '../call/call-telemetry.js';
import type { MethodDescriptor } from '../call/method.js';
import { statusName, type StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type { ObservableClient } from './grpc-telemetry.js';
import { instrumentsOf, methodName } from './instruments.js';

/** What a call has counted about its attempts. */
type CountedAttempts = Readonly<Record<'retries' | 'transparentRetries' | 'hedges' | 'retryDelayMs', number>>;

/** Metric attributes of one method. They are created once and reused by every measurement. */
class MethodAttributes {
  readonly common: Attributes;
  readonly own: Attributes;
  private readonly byStatus = new Map<StatusCode, Attributes>();

  constructor(path: string, client: Attributes, target: Attributes) {
    const method = { 'grpc.method': methodName(path) };
    this.common = { ...method, ...target };
    this.own = { ...method, ...client };
  }

  with(code: StatusCode): Attributes {
    let found = this.byStatus.get(code);
    if (found === undefined) {
      found = { ...this.common, 'grpc.status': statusName(code) };
      this.byStatus.set(code, found);
    }
    return found;
  }
}

export class ClientMetrics {
  private readonly target: Attributes;
  private readonly client: Attributes;
  private readonly connected: Attributes;
  private readonly methods = new Map<string, MethodAttributes>();
  private outageStartedAt: number | undefined;

  constructor(
    private readonly instruments: ClientInstruments,
    private readonly observed: ObservedClients,
    client: ObservableClient,
    private readonly clock: Clock,
  ) {
    this.target = { 'grpc.target': client.canonicalTarget };
    // Two clients can share a target. The client name distinguishes their observed values.
    this.client = { 'resilient_grpc.client': client.name, ...this.target };
    this.connected = { ...this.target, 'grpc.security_level': client.isSecure ? 'privacy_and_integrity' : 'none' };
    // Counts the connections that were already open, and the outage that had already begun, when telemetry was set.
    const { openConnections, outageMs } = client.figures();
    if (openConnections > 0) instruments.openConnections.add(openConnections, this.connected);
    if (outageMs !== undefined) this.outageBegan(clock.now() - outageMs);
    observed.add(this.client, client);
  }

  callBegan({ path, kind }: MethodDescriptor): void {
    if (kind !== 'unary') this.instruments.streams.add(1, this.of(path).own);
  }

  callEnded({ path, kind }: MethodDescriptor, code: StatusCode, durationMs: number, counted: CountedAttempts): void {
    const { instruments } = this;
    const attributes = this.of(path);
    if (kind !== 'unary') instruments.streams.add(-1, attributes.own);
    instruments.callDuration.record(durationMs / 1_000, attributes.with(code));
    const { common } = attributes;
    if (counted.retries > 0) instruments.retries.record(counted.retries, common);
    if (counted.transparentRetries > 0) instruments.transparentRetries.record(counted.transparentRetries, common);
    if (counted.hedges > 0) instruments.hedges.record(counted.hedges, common);
    if (counted.retryDelayMs > 0) instruments.retryDelay.record(counted.retryDelayMs / 1_000, common);
  }

  attemptBegan({ path }: MethodDescriptor): void {
    this.instruments.attempts.add(1, this.of(path).common);
  }

  /** @param sent bytes of the messages before compression; `received`: after decompression */
  attemptEnded({ path }: MethodDescriptor, code: StatusCode, durationMs: number, sent: number, received: number): void {
    const attributes = this.of(path).with(code);
    this.instruments.attemptDuration.record(durationMs / 1_000, attributes);
    this.instruments.sentBytes.record(sent, attributes);
    this.instruments.receivedBytes.record(received, attributes);
  }

  waitEnded({ path }: MethodDescriptor, outcome: WaitEnd, waitedMs: number): void {
    this.instruments.waitDuration.record(waitedMs / 1_000, { ...this.of(path).own, 'resilient_grpc.outcome': outcome });
  }

  take(event: GrpcClientEvent): void {
    const { instruments, client } = this;
    switch (event.type) {
      case 'connection':
        this.connection(event);
        return;
      case 'outage-start':
        this.outageBegan(this.clock.now());
        return;
      case 'outage-end':
        // Alerts subtract the number of recorded durations from the number of outages, so no duration is recorded for an outage that was
        // not counted.
        if (this.outageStartedAt === undefined) return;
        this.outageStartedAt = undefined;
        instruments.outageDuration.record(event.durationMs / 1_000, client);
        return;
      case 'attempt-end':
        if (event.next === 'retry') return;
        instruments.notRetried.add(1, { ...this.of(event.path).own, 'resilient_grpc.reason': event.reason });
        return;
      case 'connection-replaced':
        instruments.replacements.add(1, { ...client, 'resilient_grpc.reason': event.reason });
        return;
      case 'endpoint':
        this.endpoint(event);
        return;
      case 'stream-limit':
        if (event.phase === 'begin') instruments.streamLimits.add(1, client);
        return;
      case 'stream-resumed':
        instruments.resumes.add(1, { ...this.of(event.path).own, 'resilient_grpc.progress': event.progress });
        return;
      case 'drain':
        if (event.phase === 'begin') return;
        instruments.drainDuration.record(event.durationMs / 1_000, client);
        instruments.cutOff.add(event.cancelled, client);
        return;
      default:
    }
  }

  private outageBegan(at: number): void {
    this.instruments.outages.add(1, this.client);
    this.outageStartedAt = at;
  }

  /** Excludes failures without an address: the name was not resolved, no endpoint is serving, or the connection is not observed. */
  private connection(event: Extract<GrpcClientEvent, { type: 'connection' }>): void {
    const { instruments, target, connected } = this;
    switch (event.change) {
      case 'connected':
        instruments.connectionsMade.add(1, target);
        instruments.openConnections.add(1, connected);
        return;
      case 'failed':
        if (event.address !== undefined) instruments.connectionsFailed.add(1, target);
        return;
      case 'ended':
      case 'closed':
        instruments.disconnections.add(1, { ...target, 'grpc.disconnect_error': disconnectError(event.reason) });
        instruments.openConnections.add(-1, connected);
    }
  }

  private endpoint(event: Extract<GrpcClientEvent, { type: 'endpoint' }>): void {
    const { instruments, target, client } = this;
    if (event.change !== 'ejected' && event.change !== 'spared') return;
    const { reason } = event.evidence;
    if (reason === 'success-rate') instruments.successRateOutliers.add(1, target);
    if (reason === 'failure-percentage') instruments.failurePercentageOutliers.add(1, target);
    if (event.change === 'spared') {
      if (event.limit !== 'enforcement') instruments.ejectionsOverflow.add(1, target);
      return;
    }
    instruments.ejections.add(1, target);
    if (reason === 'success-rate') instruments.successRateEjections.add(1, target);
    if (reason === 'failure-percentage') instruments.failurePercentageEjections.add(1, target);
    instruments.ejectionsByReason.add(1, { ...client, 'resilient_grpc.reason': reason });
  }

  close(): void {
    this.observed.close(this.client);
    if (this.outageStartedAt === undefined) return;
    // Without this record, the outage of a closed client would count as ongoing.
    this.instruments.outageDuration.record((this.clock.now() - this.outageStartedAt) / 1_000, this.client);
    this.outageStartedAt = undefined;
  }

  /** Returns the cached attributes of a method. The cache is bounded by the methods of the client's services. */
  private of(path: string): MethodAttributes {
    let found = this.methods.get(path);
    if (found === undefined) {
      found = new MethodAttributes(path, this.client, this.target);
      this.methods.set(path, found);
    }
    return found;
  }
}

/**
 * Returns a value that gRFC A94 allows. A GOAWAY whose code is not in RFC 9113 counts as 'unknown', because the server selects the code,
 * and each value creates a series.
 */
function disconnectError(reason: ConnectionEnd): ConnectionEnd {
  return /^GOAWAY \d/.test(reason) ? 'unknown' : reason;
}

const MAX_CLOSED_CLIENTS = 100;

export class ObservedClients {
  private readonly open = new Map<Attributes, ObservableClient>();
  /** The final gauge values of closed clients. They are observed once more, because the SDK keeps reporting the last observed value. */
  private readonly closed = new Map<Attributes, ClientFigures>();

  constructor(
    private readonly gauges: ReturnType<typeof clientGauges>,
    meter: Meter,
  ) {
    meter.addBatchObservableCallback(this.observe, Object.values(gauges));
  }

  add(attributes: Attributes, client: ObservableClient): void {
    this.open.set(attributes, client);
  }

  close(attributes: Attributes): void {
    const client = this.open.get(attributes);
    if (client === undefined) return;
    this.open.delete(attributes);
    this.closed.set(attributes, client.figures());
    if (this.closed.size <= MAX_CLOSED_CLIENTS) return;
    const [oldest] = this.closed.keys();
    if (oldest !== undefined) this.closed.delete(oldest);
  }

  private readonly observe: BatchObservableCallback = (result) => {
    const { waitingCalls, oldestWait, retryBudget, addresses, endpoints, watchFailing, oldestStream } = this.gauges;
    const { concurrencyLimit, hedgingDelay } = this.gauges;
    const observe = (attributes: Attributes, figures: ClientFigures): void => {
      const { waiting, oldestWaitMs, retryBudget: budget, oldestStreamMs, watch } = figures;
      result.observe(waitingCalls, waiting, attributes);
      result.observe(oldestWait, oldestWaitMs / 1_000, attributes);
      result.observe(retryBudget, budget.tokens / budget.maxTokens, attributes);
      result.observe(addresses, figures.addresses, attributes);
      result.observe(oldestStream, oldestStreamMs / 1_000, attributes);
      for (const { path, maxConcurrent } of figures.adaptiveLimits) {
        const scope = path === undefined ? attributes : { ...attributes, 'grpc.method': methodName(path) };
        result.observe(concurrencyLimit, maxConcurrent, scope);
      }
      for (const { path, delayMs } of figures.hedgingDelays) {
        if (delayMs === undefined) continue;
        result.observe(hedgingDelay, delayMs / 1_000, { ...attributes, 'grpc.method': methodName(path) });
      }
      if (watch === undefined) return;
      result.observe(watchFailing, watch.failingMs / 1_000, attributes);
      const { ready, notReady, terminating } = watch;
      for (const [condition, count] of Object.entries({ ready, 'not-ready': notReady, terminating }))
        result.observe(endpoints, count, { ...attributes, 'resilient_grpc.condition': condition });
    };
    // Closed clients come first, because a new client with the same attributes must overwrite their values.
    for (const [attributes, figures] of this.closed) observe(attributes, figures);
    this.closed.clear();
    for (const [attributes, client] of this.open) observe(attributes, client.figures());
  };
}

const RETRY_BUCKETS = [1, 2, 3, 4, 5];
const TRANSPARENT_RETRY_BUCKETS = [1, 2, 3, 4, 5, 10];
/** Bucket boundaries of the outage histogram, in seconds. They extend to one hour because outages last longer than calls. */
const OUTAGE_BUCKETS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1_800, 3_600];

export type ClientInstruments = ReturnType<typeof clientInstruments>;

/**
 * Creates the client instruments of gRFC A66
 * (https://github.com/grpc/proposal/blob/master/A66-otel-stats.md#client-per-attempt-instruments), A96
 * (https://github.com/grpc/proposal/blob/master/A96-retry-otel-stats.md), A94
 * (https://github.com/grpc/proposal/blob/master/A94-subchannel-otel-metrics.md), and A91
 * (https://github.com/grpc/proposal/blob/master/A91-outlier-detection-metrics.md). The instruments of this library use the prefix
 * `resilient_grpc.`, so that they cannot collide with future gRPC metrics.
 */
export function clientInstruments(meter: Meter) {
  const { counter, upDownCounter, histogram, seconds, bytes } = instrumentsOf(meter);
  const ejections = 'grpc.lb.outlier_detection.ejections';
  return {
    // A66
    attempts: counter('grpc.client.attempt.started', '{attempt}', 'Attempts that have started.'),
    attemptDuration: seconds('grpc.client.attempt.duration', 'Time taken to complete an attempt.'),
    sentBytes: bytes('grpc.client.attempt.sent_total_compressed_message_size', 'Message bytes sent per attempt.'),
    receivedBytes: bytes(
      'grpc.client.attempt.rcvd_total_compressed_message_size',
      'Message bytes received per attempt.',
    ),
    callDuration: seconds('grpc.client.call.duration', "Time taken by a call from the application's perspective."),
    // A96
    retries: histogram('grpc.client.call.retries', '{retry}', 'Retries per call with retries.', RETRY_BUCKETS),
    transparentRetries: histogram(
      'grpc.client.call.transparent_retries',
      '{transparent_retry}',
      'Transparent retries per call with transparent retries.',
      TRANSPARENT_RETRY_BUCKETS,
    ),
    hedges: histogram('grpc.client.call.hedges', '{hedge}', 'Hedges per call with hedges.', RETRY_BUCKETS),
    retryDelay: seconds('grpc.client.call.retry_delay', 'Total time per call without an active attempt.'),
    // A94
    disconnections: counter('grpc.subchannel.disconnections', '{disconnection}', 'Connections that have ended.'),
    connectionsMade: counter('grpc.subchannel.connection_attempts_succeeded', '{attempt}', 'Established connections.'),
    connectionsFailed: counter(
      'grpc.subchannel.connection_attempts_failed',
      '{attempt}',
      'Failed connection attempts.',
    ),
    openConnections: upDownCounter('grpc.subchannel.open_connections', '{connection}', 'Open connections.'),
    // A91
    ejections: counter(`${ejections}_enforced_total`, '{ejection}', 'Enforced ejections.'),
    ejectionsOverflow: counter(`${ejections}_overflow`, '{ejection}', 'Ejections prevented by the maximum percentage.'),
    successRateEjections: counter(`${ejections}_enforced_success_rate`, '{ejection}', 'Enforced by success rate.'),
    successRateOutliers: counter(`${ejections}_detected_success_rate`, '{ejection}', 'Detected by success rate.'),
    failurePercentageEjections: counter(
      `${ejections}_enforced_failure_percentage`,
      '{ejection}',
      'Enforced by failure percentage.',
    ),
    failurePercentageOutliers: counter(
      `${ejections}_detected_failure_percentage`,
      '{ejection}',
      'Detected by failure percentage.',
    ),
    // This library
    ejectionsByReason: counter('resilient_grpc.client.ejections', '{ejection}', 'Ejections of endpoints, by reason.'),
    outages: counter('resilient_grpc.client.outages', '{outage}', 'Outages that have started.'),
    outageDuration: histogram('resilient_grpc.client.outage.duration', 's', 'Outages that have ended.', OUTAGE_BUCKETS),
    streamLimits: counter('resilient_grpc.client.stream_limit_reached', '{wait}', 'Waits for a free stream.'),
    waitDuration: seconds('resilient_grpc.client.wait.duration', 'Time that calls waited for the channel, by outcome.'),
    notRetried: counter('resilient_grpc.client.not_retried', '{attempt}', 'Failures that were not retried, by reason.'),
    replacements: counter('resilient_grpc.client.replacements', '{replacement}', 'Replaced connections, by reason.'),
    streams: upDownCounter('resilient_grpc.client.streams', '{stream}', 'Open streams.'),
    resumes: counter(
      'resilient_grpc.client.resumes',
      '{resume}',
      'Stream resumes, by progress since the previous one.',
    ),
    drainDuration: seconds('resilient_grpc.client.drain.duration', 'Duration of client drains.'),
    cutOff: counter(
      'resilient_grpc.client.drain.cut_off_calls',
      '{call}',
      'Calls that were open at the drain timeout.',
    ),
  };
}

/** Creates the gauges of clients, which `ObservedClients` observes. */
export function clientGauges(meter: Meter) {
  const { gauge } = instrumentsOf(meter);
  return {
    waitingCalls: gauge('resilient_grpc.client.waiting_calls', '{call}', 'Calls waiting for the channel.'),
    oldestWait: gauge('resilient_grpc.client.oldest_wait', 's', 'Time that the longest-waiting call has waited.'),
    retryBudget: gauge('resilient_grpc.client.retry_budget', '1', 'Remaining share of the retry budget; 1 is full.'),
    concurrencyLimit: gauge('resilient_grpc.client.concurrency_limit', '{call}', 'Current adaptive concurrency limit.'),
    hedgingDelay: gauge('resilient_grpc.client.hedging_delay', 's', 'Current hedging delay that follows latency.'),
    addresses: gauge('resilient_grpc.client.addresses', '{address}', 'Addresses of the target in use.'),
    endpoints: gauge(
      'resilient_grpc.client.endpoints',
      '{endpoint}',
      'Endpoints of a kubernetes: target, by condition.',
    ),
    watchFailing: gauge(
      'resilient_grpc.client.watch_failing',
      's',
      'Time for which the endpoint watch has been failing.',
    ),
    oldestStream: gauge('resilient_grpc.client.oldest_stream', 's', 'Age of the oldest open stream.'),
  };
}
