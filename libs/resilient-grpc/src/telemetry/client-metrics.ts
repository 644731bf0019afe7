import type { Attributes } from '@opentelemetry/api';
import type { GrpcClientEvent } from '../call/call-event.js';
import type { WaitEnd } from '../call/call-telemetry.js';
import type { MethodDescriptor } from '../call/method.js';
import { statusName, type StatusCode } from '../status/status-code.js';
import type { ClientInstruments } from './client-instruments.js';
import type { TellingClient } from './grpc-telemetry.js';
import { methodName } from './instruments.js';
import type { ObservedClients } from './observed-clients.js';

/** What a call was when it has ended. */
export interface MeasuredCallEnd {
  readonly code: StatusCode;
  readonly durationMs: number;
  readonly retries: number;
  readonly transparentRetries: number;
  readonly hedges: number;
  /** Time between attempts in which none ran. */
  readonly retryDelayMs: number;
}

/** What an attempt was when it has ended. */
export interface MeasuredAttemptEnd {
  readonly code: StatusCode;
  readonly durationMs: number;
  /** Bytes of messages as they are on the wire. */
  readonly sent: number;
  readonly received: number;
}

/** Attributes of one method, made once: metrics of calls find them again by their identity. */
class MethodAttributes {
  /** As gRFC A66 has them. */
  readonly common: Attributes;
  /** Those of ours. */
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

/** Metrics of one client. */
export class ClientMetrics {
  private readonly target: Attributes;
  private readonly client: Attributes;
  private readonly connected: Attributes;
  private readonly methods = new Map<string, MethodAttributes>();

  constructor(
    private readonly instruments: ClientInstruments,
    private readonly observed: ObservedClients,
    told: TellingClient,
  ) {
    this.target = { 'grpc.target': told.canonicalTarget };
    // Two clients may have one target, and what is observed of one must not stand for both.
    this.client = { 'resilient_grpc.client': told.name, ...this.target };
    this.connected = { ...this.target, 'grpc.security_level': told.isSecure ? 'privacy_and_integrity' : 'none' };
    // Those that were there before.
    const { openConnections } = told.figures();
    if (openConnections > 0) instruments.openConnections.add(openConnections, this.connected);
    observed.add(this.client, told);
  }

  callBegan({ path, kind }: MethodDescriptor): void {
    if (kind !== 'unary') this.instruments.streams.add(1, this.of(path).own);
  }

  callEnded({ path, kind }: MethodDescriptor, end: MeasuredCallEnd): void {
    const { instruments } = this;
    const attributes = this.of(path);
    if (kind !== 'unary') instruments.streams.add(-1, attributes.own);
    instruments.callDuration.record(end.durationMs / 1_000, attributes.with(end.code));
    const { common } = attributes;
    if (end.retries > 0) instruments.retries.record(end.retries, common);
    if (end.transparentRetries > 0) instruments.transparentRetries.record(end.transparentRetries, common);
    if (end.hedges > 0) instruments.hedges.record(end.hedges, common);
    if (end.retryDelayMs > 0) instruments.retryDelay.record(end.retryDelayMs / 1_000, common);
  }

  attemptBegan({ path }: MethodDescriptor): void {
    this.instruments.attempts.add(1, this.of(path).common);
  }

  attemptEnded({ path }: MethodDescriptor, { code, durationMs, sent, received }: MeasuredAttemptEnd): void {
    const attributes = this.of(path).with(code);
    this.instruments.attemptDuration.record(durationMs / 1_000, attributes);
    this.instruments.sentBytes.record(sent, attributes);
    this.instruments.receivedBytes.record(received, attributes);
  }

  waitEnded({ path }: MethodDescriptor, how: WaitEnd, waitedMs: number): void {
    this.instruments.waitDuration.record(waitedMs / 1_000, { ...this.of(path).own, 'resilient_grpc.outcome': how });
  }

  take(event: GrpcClientEvent): void {
    const { instruments, client } = this;
    switch (event.type) {
      case 'connection':
        this.connection(event);
        return;
      case 'outage-start':
        instruments.outages.add(1, client);
        return;
      case 'outage-end':
        instruments.outageDuration.record(event.durationMs / 1_000, client);
        return;
      case 'attempt-end':
        if (event.next === 'retry' || event.next === 'wait') return;
        instruments.notRetried.add(1, { ...this.of(event.path).own, 'resilient_grpc.reason': event.because });
        return;
      case 'connection-replaced':
        instruments.replacements.add(1, { ...client, 'resilient_grpc.reason': event.reason });
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

  /** A name that cannot be resolved is no attempt to connect. */
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
        instruments.disconnections.add(1, { ...target, 'grpc.disconnect_error': event.because });
        instruments.openConnections.add(-1, connected);
    }
  }

  close(): void {
    this.observed.close(this.client);
  }

  /** Of methods that the client has: they are few. */
  private of(path: string): MethodAttributes {
    let found = this.methods.get(path);
    if (found === undefined) {
      found = new MethodAttributes(path, this.client, this.target);
      this.methods.set(path, found);
    }
    return found;
  }
}
