import type { Meter } from '@opentelemetry/api';
import { buckets, BYTES, SECONDS } from './instruments.js';

/** Bucket boundaries of the retry and hedge histograms (gRFC A96). */
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
  return {
    // A66
    attempts: meter.createCounter('grpc.client.attempt.started', {
      description: 'The total number of RPC attempts started, including those that have not completed.',
      unit: '{attempt}',
    }),
    attemptDuration: meter.createHistogram('grpc.client.attempt.duration', {
      description: 'End-to-end time taken to complete an RPC attempt.',
      ...SECONDS,
    }),
    sentBytes: meter.createHistogram('grpc.client.attempt.sent_total_compressed_message_size', {
      description: 'Total bytes (compressed but not encrypted) sent across all request messages per RPC attempt.',
      ...BYTES,
    }),
    receivedBytes: meter.createHistogram('grpc.client.attempt.rcvd_total_compressed_message_size', {
      description: 'Total bytes (compressed but not encrypted) received across all response messages per RPC attempt.',
      ...BYTES,
    }),
    callDuration: meter.createHistogram('grpc.client.call.duration', {
      description: "The end-to-end time an RPC takes from the application's perspective.",
      ...SECONDS,
    }),
    // A96
    retries: meter.createHistogram('grpc.client.call.retries', {
      description: 'Number of retries during the client call. If there were no retries, 0 is not reported.',
      unit: '{retry}',
      ...buckets(RETRY_BUCKETS),
    }),
    transparentRetries: meter.createHistogram('grpc.client.call.transparent_retries', {
      description:
        'Number of transparent retries during the client call. If there were no transparent retries, 0 is not reported.',
      unit: '{transparent_retry}',
      ...buckets(TRANSPARENT_RETRY_BUCKETS),
    }),
    hedges: meter.createHistogram('grpc.client.call.hedges', {
      description: 'Number of hedges during the client call. If there were no hedges, 0 is not reported.',
      unit: '{hedge}',
      ...buckets(RETRY_BUCKETS),
    }),
    retryDelay: meter.createHistogram('grpc.client.call.retry_delay', {
      description: 'Total time of delay while there is no active attempt during the client call.',
      ...SECONDS,
    }),
    // A94
    disconnections: meter.createCounter('grpc.subchannel.disconnections', {
      description: 'Number of times the selected subchannel becomes disconnected.',
      unit: '{disconnection}',
    }),
    connectionsMade: meter.createCounter('grpc.subchannel.connection_attempts_succeeded', {
      description: 'Number of successful connection attempts.',
      unit: '{attempt}',
    }),
    connectionsFailed: meter.createCounter('grpc.subchannel.connection_attempts_failed', {
      description: 'Number of failed connection attempts.',
      unit: '{attempt}',
    }),
    openConnections: meter.createUpDownCounter('grpc.subchannel.open_connections', {
      description: 'Number of open connections.',
      unit: '{connection}',
    }),
    // A91
    ejections: meter.createCounter('grpc.lb.outlier_detection.ejections_enforced_total', {
      description: 'Total enforced ejections due to any outlier type.',
      unit: '{ejection}',
    }),
    ejectionsOverflow: meter.createCounter('grpc.lb.outlier_detection.ejections_overflow', {
      description: 'Number of ejections aborted due to max ejection percentage.',
      unit: '{ejection}',
    }),
    successRateEjections: meter.createCounter('grpc.lb.outlier_detection.ejections_enforced_success_rate', {
      description: 'Enforced success rate outlier ejections.',
      unit: '{ejection}',
    }),
    successRateOutliers: meter.createCounter('grpc.lb.outlier_detection.ejections_detected_success_rate', {
      description: 'Detected (even if unenforced) success rate outlier ejections.',
      unit: '{ejection}',
    }),
    failurePercentageEjections: meter.createCounter('grpc.lb.outlier_detection.ejections_enforced_failure_percentage', {
      description: 'Enforced failure percentage outlier ejections.',
      unit: '{ejection}',
    }),
    failurePercentageOutliers: meter.createCounter('grpc.lb.outlier_detection.ejections_detected_failure_percentage', {
      description: 'Detected (even if unenforced) failure percentage outlier ejections.',
      unit: '{ejection}',
    }),
    // This library
    ejectionsByReason: meter.createCounter('resilient_grpc.client.ejections', {
      description: 'Number of ejections of endpoints, by reason.',
      unit: '{ejection}',
    }),
    outages: meter.createCounter('resilient_grpc.client.outages', {
      description: 'Number of outages that have started, including those that have not ended.',
      unit: '{outage}',
    }),
    outageDuration: meter.createHistogram('resilient_grpc.client.outage.duration', {
      description: 'Duration of outages that have ended.',
      unit: 's',
      ...buckets(OUTAGE_BUCKETS),
    }),
    streamLimits: meter.createCounter('resilient_grpc.client.stream_limit_reached', {
      description: 'Number of waits for a free stream, except short ones while another connection opens.',
      unit: '{wait}',
    }),
    waitDuration: meter.createHistogram('resilient_grpc.client.wait.duration', {
      description: 'Time that calls waited for the channel, by outcome.',
      ...SECONDS,
    }),
    waitingCalls: meter.createObservableGauge('resilient_grpc.client.waiting_calls', {
      description: 'Number of calls waiting for the channel.',
      unit: '{call}',
    }),
    oldestWait: meter.createObservableGauge('resilient_grpc.client.oldest_wait', {
      description: 'Time that the longest-waiting call has waited; 0 if no call is waiting.',
      unit: 's',
    }),
    notRetried: meter.createCounter('resilient_grpc.client.not_retried', {
      description: 'Number of failed attempts that were not retried, by reason.',
      unit: '{attempt}',
    }),
    retryBudget: meter.createObservableGauge('resilient_grpc.client.retry_budget', {
      description:
        'Remaining share of the retry budget; 1 is full. Retries stop below 0.1, or at 0.5 if retryThrottling is set.',
      unit: '1',
    }),
    concurrencyLimit: meter.createObservableGauge('resilient_grpc.client.concurrency_limit', {
      description: 'Current adaptive concurrency limit of a method, or of the client if grpc.method is absent.',
      unit: '{call}',
    }),
    hedgingDelay: meter.createObservableGauge('resilient_grpc.client.hedging_delay', {
      description:
        'Current hedging delay of a method whose delay follows latency; absent until latency has been measured.',
      unit: 's',
    }),
    replacements: meter.createCounter('resilient_grpc.client.replacements', {
      description: 'Number of times that the client replaced its connections, by reason.',
      unit: '{replacement}',
    }),
    streams: meter.createUpDownCounter('resilient_grpc.client.streams', {
      description: 'Number of open streams.',
      unit: '{stream}',
    }),
    addresses: meter.createObservableGauge('resilient_grpc.client.addresses', {
      description: 'Number of target addresses in use; 0 before the first lookup.',
      unit: '{address}',
    }),
    endpoints: meter.createObservableGauge('resilient_grpc.client.endpoints', {
      description: 'Number of endpoints of a kubernetes: target, by condition.',
      unit: '{endpoint}',
    }),
    watchFailing: meter.createObservableGauge('resilient_grpc.client.watch_failing', {
      description: 'Time for which the endpoint watch of a kubernetes: target has been failing; 0 while it works.',
      unit: 's',
    }),
    oldestStream: meter.createObservableGauge('resilient_grpc.client.oldest_stream', {
      description: 'Age of the oldest open stream; 0 if no stream is open.',
      unit: 's',
    }),
    resumes: meter.createCounter('resilient_grpc.client.resumes', {
      description: 'Number of stream resumes, by whether messages were delivered since the previous one.',
      unit: '{resume}',
    }),
    drainDuration: meter.createHistogram('resilient_grpc.client.drain.duration', {
      description: 'Duration of client drains.',
      ...SECONDS,
    }),
    cutOff: meter.createCounter('resilient_grpc.client.drain.cut_off_calls', {
      description: 'Number of calls cut off by drains because they were still open at the timeout.',
      unit: '{call}',
    }),
  };
}
