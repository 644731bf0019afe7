import type { Metadata } from '@grpc/grpc-js';
import type { GrpcClientEvent } from '../call/call-event.js';
import type { AttemptKind, AttemptTelemetry, CallTelemetry, ClientTelemetry, WaitEnd } from '../call/call-telemetry.js';
import type { MethodDescriptor } from '../call/method.js';
import type { StreamScope } from '../call/stream-scope.js';
import type { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type { CallSpan } from './call-span.js';
import { catchSdkErrors } from './catch-sdk-errors.js';
import type { ClientMetrics } from './client-metrics.js';
import {
  carriesActiveSpan,
  OPEN_TELEMETRY_CONTEXTS,
  type ClientTraces,
  type TracedClientCall,
} from './client-traces.js';

const METRICS = 'recording client metrics';
const SPANS = 'recording client spans';

/** Records the metrics and spans of one client. */
export class OpenClientTelemetry implements ClientTelemetry {
  readonly contexts: ClientTelemetry['contexts'];

  constructor(
    private readonly metrics: ClientMetrics | undefined,
    private readonly traces: ClientTraces | undefined,
    private readonly clock: Clock,
  ) {
    this.contexts = traces === undefined ? undefined : OPEN_TELEMETRY_CONTEXTS;
  }

  begin(method: MethodDescriptor, scope: StreamScope | undefined, metadata: Metadata | undefined): CallTelemetry {
    const traced = catchSdkErrors(SPANS, () =>
      // An agent that patches generated clients has started the span of such a call.
      method.isGenerated && metadata !== undefined && carriesActiveSpan(metadata)
        ? undefined
        : this.traces?.begin(method.path, scope),
    );
    return new ClientCallRecorder(method, this.metrics, traced, this.clock);
  }

  take(event: GrpcClientEvent): void {
    catchSdkErrors(METRICS, () => this.metrics?.take(event));
  }

  close(): void {
    catchSdkErrors(METRICS, () => this.metrics?.close());
  }
}

/** Records the metrics and spans of one client call. */
class ClientCallRecorder implements CallTelemetry {
  private readonly startedAt: number;
  private next: AttemptKind = 'original';
  /** True if an attempt of kind `next` has started. */
  private nextBegan = false;
  /** Number of attempts, except transparent retries. */
  private attempts = 0;
  private retries = 0;
  private transparentRetries = 0;
  private hedges = 0;
  private running = 0;
  /** End of the last attempt, in monotonic milliseconds; `undefined` before the first attempt and while an attempt is running. */
  private idleSince: number | undefined;
  private retryDelayMs = 0;
  /** True if the call waited for the channel, and the attempt after that wait has not started. */
  private delayed = false;
  private ended = false;

  constructor(
    readonly method: MethodDescriptor,
    readonly metrics: ClientMetrics | undefined,
    private readonly traced: TracedClientCall | undefined,
    readonly clock: Clock,
  ) {
    this.startedAt = clock.now();
    catchSdkErrors(METRICS, () => metrics?.callBegan(method));
  }

  nextIs(kind: AttemptKind): void {
    // An attempt whose channel closed during preparation never started. The next attempt replaces it and keeps its kind.
    if (kind === 'transparent-retry' && !this.nextBegan) return;
    this.next = kind;
    this.nextBegan = false;
  }

  attempt(metadata: Metadata): AttemptTelemetry {
    const now = this.clock.now();
    // Several hedged attempts may be in preparation; the first one to start counts as the original attempt.
    const kind = this.next === 'hedge' && this.attempts === 0 ? 'original' : this.next;
    this.nextBegan ||= kind === this.next;
    const transparent = kind === 'transparent-retry';
    if (transparent) this.transparentRetries += 1;
    else this.attempts += 1;
    if (kind === 'retry') this.retries += 1;
    else if (kind === 'hedge') this.hedges += 1;
    if (this.idleSince !== undefined) this.retryDelayMs += now - this.idleSince;
    this.idleSince = undefined;
    this.running += 1;
    catchSdkErrors(METRICS, () => this.metrics?.attemptBegan(this.method));
    const previous = Math.max(0, this.attempts - 1);
    const traced = catchSdkErrors(SPANS, () => this.traced?.attempt(metadata, previous, transparent, this.delayed));
    this.delayed = false;
    return new ClientAttemptRecorder(this, traced?.span, traced?.metadata ?? metadata, now);
  }

  attemptEnded(now: number): void {
    this.running -= 1;
    if (this.running === 0) this.idleSince = now;
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    catchSdkErrors(METRICS, () => this.metrics?.waitEnded(this.method, outcome, waitedMs));
    this.delayed = outcome === 'released';
  }

  end(code: StatusCode, details: string): void {
    if (this.ended) return;
    this.ended = true;
    const { retries, transparentRetries, hedges, retryDelayMs } = this;
    const durationMs = this.clock.now() - this.startedAt;
    const end = { code, durationMs, retries, transparentRetries, hedges, retryDelayMs };
    catchSdkErrors(METRICS, () => this.metrics?.callEnded(this.method, end));
    catchSdkErrors(SPANS, () => this.traced?.span.end(code, details));
  }
}

class ClientAttemptRecorder implements AttemptTelemetry {
  private sentBytes = 0;
  private receivedBytes = 0;
  private ended = false;

  constructor(
    private readonly call: ClientCallRecorder,
    private readonly span: CallSpan | undefined,
    readonly metadata: Metadata,
    private readonly startedAt: number,
  ) {}

  sent(bytes: number): void {
    this.sentBytes += bytes;
    catchSdkErrors(SPANS, () => this.span?.sent(bytes));
  }

  received(bytes: number): void {
    this.receivedBytes += bytes;
    catchSdkErrors(SPANS, () => this.span?.received(bytes));
  }

  end(code: StatusCode, details: string, peer: string | undefined): void {
    if (this.ended) return;
    this.ended = true;
    const { call, sentBytes: sent, receivedBytes: received } = this;
    const now = call.clock.now();
    call.attemptEnded(now);
    const end = { code, durationMs: now - this.startedAt, sent, received, peer };
    catchSdkErrors(METRICS, () => call.metrics?.attemptEnded(call.method, end));
    catchSdkErrors(SPANS, () => {
      this.span?.reached(peer);
      this.span?.end(code, details);
    });
  }
}
