import type { Metadata } from '@grpc/grpc-js';
import type { AttemptKind, AttemptTelemetry, CallTelemetry, WaitEnd } from '../call/call-telemetry.js';
import type { MethodDescriptor } from '../call/method.js';
import type { StatusCode } from '../status/status-code.js';
import type { Clock } from '../time/clock.js';
import type { ClientMetrics } from './client-metrics.js';
import type { TracedAttempt, TracedClientCall } from './client-traces.js';
import { unharmed } from './unharmed.js';

const METRICS = 'the metrics of a client';
const SPANS = 'the spans of a client';

/** One call, as its metrics and its span hear of it. */
export class OpenCall implements CallTelemetry {
  private readonly startedAt: number;
  private next: AttemptKind = 'original';
  /** An attempt of that kind has begun. */
  private nextBegan = false;
  /** Attempts, but for those that took the place of one that no server has seen. */
  private attempts = 0;
  private retries = 0;
  private transparentRetries = 0;
  private hedges = 0;
  private running = 0;
  /** When the last attempt ended, while none runs; monotonic, as all times here. */
  private idleSince: number | undefined;
  private retryDelayMs = 0;
  /** It waited, and the attempt that it waited for has not begun. */
  private delayed = false;
  private ended = false;

  constructor(
    readonly method: MethodDescriptor,
    readonly metrics: ClientMetrics | undefined,
    private readonly traced: TracedClientCall | undefined,
    readonly clock: Clock,
  ) {
    this.startedAt = clock.now();
    unharmed(METRICS, () => metrics?.callBegan(method));
  }

  nextIs(kind: AttemptKind): void {
    // Nothing is repeated of an attempt that never began, as its channel went while it was prepared: what it was to be comes now.
    if (kind === 'transparent-retry' && !this.nextBegan) return;
    this.next = kind;
    this.nextBegan = false;
  }

  attempt(metadata: Metadata): AttemptTelemetry {
    const now = this.clock.now();
    // Of several that are being prepared the first to begin is the original one.
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
    unharmed(METRICS, () => this.metrics?.attemptBegan(this.method));
    const previous = Math.max(0, this.attempts - 1);
    const traced = unharmed(SPANS, () => this.traced?.attempt(metadata, previous, transparent, this.delayed));
    this.delayed = false;
    return new OpenAttempt(this, traced, metadata, now);
  }

  attemptEnded(now: number): void {
    this.running -= 1;
    if (this.running === 0) this.idleSince = now;
  }

  waited(how: WaitEnd, waitedMs: number): void {
    unharmed(METRICS, () => this.metrics?.waitEnded(this.method, how, waitedMs));
    this.delayed = how === 'released';
  }

  end(code: StatusCode, details: string): void {
    if (this.ended) return;
    this.ended = true;
    const { retries, transparentRetries, hedges, retryDelayMs } = this;
    const durationMs = this.clock.now() - this.startedAt;
    const end = { code, durationMs, retries, transparentRetries, hedges, retryDelayMs };
    unharmed(METRICS, () => this.metrics?.callEnded(this.method, end));
    unharmed(SPANS, () => this.traced?.end(code, details));
  }
}

class OpenAttempt implements AttemptTelemetry {
  private sentBytes = 0;
  private receivedBytes = 0;
  /** Of the message sent last. */
  private lastSent = 0;
  /** The message that comes next was compressed, and is counted. */
  private counted = false;
  private ended = false;

  constructor(
    private readonly call: OpenCall,
    private readonly traced: TracedAttempt | undefined,
    private readonly given: Metadata,
    private readonly startedAt: number,
  ) {}

  get metadata(): Metadata {
    return this.traced?.metadata ?? this.given;
  }

  sent(bytes: number): void {
    this.lastSent = bytes;
    this.sentBytes += bytes;
    unharmed(SPANS, () => this.traced?.sent(bytes));
  }

  sentCompressed(bytes: number): void {
    this.sentBytes += bytes - this.lastSent;
    unharmed(SPANS, () => this.traced?.sentCompressed(bytes));
  }

  receivedCompressed(bytes: number): void {
    this.counted = true;
    this.receivedBytes += bytes;
    unharmed(SPANS, () => this.traced?.receivedCompressed(bytes));
  }

  received(bytes: number): void {
    if (!this.counted) this.receivedBytes += bytes;
    this.counted = false;
    unharmed(SPANS, () => this.traced?.received(bytes));
  }

  end(code: StatusCode, details: string): void {
    if (this.ended) return;
    this.ended = true;
    const { call, sentBytes: sent, receivedBytes: received } = this;
    const now = call.clock.now();
    call.attemptEnded(now);
    const end = { code, durationMs: now - this.startedAt, sent, received };
    unharmed(METRICS, () => call.metrics?.attemptEnded(call.method, end));
    unharmed(SPANS, () => this.traced?.end(code, details));
  }
}
