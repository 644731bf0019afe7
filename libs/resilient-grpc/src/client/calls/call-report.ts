import type { AttemptEnd } from '../../call/attempt.js';
import type { AttemptEndReason, CallEnd } from '../../call/call-event.js';
import type { CallTelemetry, WaitEnd } from '../../call/call-telemetry.js';
import { NO_METADATA } from '../../channel/wire/call-metadata.js';
import type { GrpcCallError, GrpcCallFailure } from '../../errors/grpc-call-error.js';
import { notifyListener } from '../../errors/error-message.js';
import type { Verdict } from '../../policy/evidence/classify.js';
import { StatusCode } from '../../status/status-code.js';
import type { MethodContext } from '../call-context.js';
import type { OutgoingCall } from '../interceptors/call-hooks.js';
import { AttemptHistory } from '../attempts/attempt-history.js';
import { callError, isCancelled, withOrigin, type CallFailure } from '../attempts/call-failure.js';
import { inCallerContext, type CallerContext } from '../caller/caller-context.js';
import type { OnceAttempts } from '../once/once-attempts.js';
import type { CallInput } from './prepare-call.js';

type EndOfCall = Pick<GrpcCallFailure, 'code' | 'details' | 'metadata' | 'peer'>;

/**
 * Reports the progress of one call to statistics, telemetry, events, interceptors, and the callbacks of the caller. Keeps the attempt
 * records of the call for the error. Makes no decisions.
 */
export class CallReport {
  telemetry: CallTelemetry | undefined;
  /** Context of the caller; `undefined` if no contexts are kept. */
  origin: CallerContext | undefined;
  /** The call as interceptors received it; `undefined` if their `onCall` was not called. */
  outgoing: OutgoingCall | undefined;
  /** The attempts of a call with a key; `undefined` if it was sent without. */
  once: Pick<OnceAttempts, 'key' | 'scope'> | undefined;
  private startedAt = 0;
  private records: AttemptHistory | undefined;

  constructor(
    private readonly context: MethodContext,
    private readonly input: CallInput,
  ) {}

  get history(): AttemptHistory {
    return (this.records ??= new AttemptHistory());
  }

  // ── before the first attempt ──

  /** Reports that the call was rejected before its first attempt. Returns the error for its caller. */
  rejected(failure: CallFailure): GrpcCallError {
    if (!isCancelled(failure)) this.context.statistics.refused(failure);
    this.telemetry?.end(failure.code, failure.details, NO_METADATA);
    return callError(this.context, failure, undefined, 'no');
  }

  /** Reports that the call was registered. A listener of the event may end the call. */
  started(startedAt: number): void {
    const { client, method, statistics } = this.context;
    this.startedAt = startedAt;
    statistics.started += 1;
    if (client.events.everyCallWanted) client.events.emit({ type: 'call-start', path: method.path });
  }

  waited(outcome: WaitEnd, waitedMs: number): void {
    this.context.client.statistics.waits[outcome] += 1;
    this.telemetry?.waited(outcome, waitedMs);
  }

  // ── attempts ──

  /** Emits the end of the last recorded attempt, the next step, and its reason. A listener may end the call. */
  attemptEnded(
    { reachedServer }: Verdict,
    next: 'none' | 'retry' | 'resume',
    reason: AttemptEndReason | 'success',
  ): void {
    const { client, method } = this.context;
    const attempt = this.records?.records.at(-1);
    // A failed attempt never has the reason 'success'.
    if (!client.events.wanted || attempt === undefined || reason === 'success') return;
    client.events.emit({ type: 'attempt-end', path: method.path, attempt, reachedServer, next, reason });
  }

  // ── the end ──

  /** Returns the error for the caller. `cutOff` is `reachedServer` of the attempt that the failure interrupts. */
  errorOf(failure: CallFailure, cutOff: Verdict['reachedServer']): GrpcCallError {
    const { options } = this.input.given;
    const ageMs = this.context.client.clock.now() - this.startedAt;
    const explained = withOrigin(failure, this.context, options?.timeoutMs, ageMs);
    return callError(this.context, explained, this.records, cutOff, this.once);
  }

  failed(failure: CallFailure, now: number): void {
    const { statistics } = this.context;
    const attempted = (this.records?.records.length ?? 0) > 0;
    if (isCancelled(failure)) statistics.cancelled += 1;
    else statistics.failed(failure, attempted, now);
  }

  succeeded(number: number, end: AttemptEnd, attemptMs: number): void {
    const { details } = end;
    const code = StatusCode.OK;
    if (this.isEndObserved()) {
      const { peer, metadata } = end;
      this.history.add(number, end, { code, details }, attemptMs);
      this.ended({ code, details, metadata, peer });
    } else {
      this.telemetry?.end(code, details, end.metadata);
    }
  }

  completed(peer: string | undefined): void {
    this.ended({ code: StatusCode.OK, details: 'Ended by the client shutdown', metadata: NO_METADATA, peer });
  }

  /** Reports to telemetry and interceptors that the reader unsubscribed, or that the request source failed. */
  cancelled(details: string): void {
    const { outgoing } = this;
    const end = { code: StatusCode.CANCELLED, details, metadata: NO_METADATA, peer: undefined };
    this.telemetry?.end(end.code, details, NO_METADATA);
    if (outgoing === undefined) return;
    inCallerContext(this.origin, () => this.context.attemptInterceptors?.hooks?.onEnd(outgoing, this.endOf(end)));
  }

  /** Reports the end of the call to telemetry, interceptors, the `onEnd` callback, and event listeners. */
  ended(end: EndOfCall): void {
    this.telemetry?.end(end.code, end.details, end.metadata);
    if (!this.isEndObserved()) return;
    const { client, method, attemptInterceptors } = this.context;
    const { outgoing } = this;
    const onEnd = this.input.given.options?.onEnd;
    const event = this.endOf(end);
    inCallerContext(this.origin, () => {
      if (outgoing !== undefined) attemptInterceptors?.hooks?.onEnd(outgoing, event);
      if (onEnd !== undefined) notifyListener(onEnd, event);
      if (client.events.everyCallWanted) client.events.emit({ type: 'call-end', path: method.path, end: event });
    });
  }

  private endOf({ code, details, metadata: trailers, peer }: EndOfCall): CallEnd {
    return {
      code,
      details,
      trailers,
      durationMs: this.context.client.clock.now() - this.startedAt,
      ...(peer === undefined ? {} : { peer }),
      attempts: this.records?.records ?? [],
    };
  }

  /** True if a callback, an interceptor, or an event listener receives the end of the call. */
  private isEndObserved(): boolean {
    const { client, attemptInterceptors } = this.context;
    return (
      client.events.everyCallWanted ||
      attemptInterceptors?.hooks !== undefined ||
      this.input.given.options?.onEnd !== undefined
    );
  }
}

export function reportUnread(
  { client, method }: MethodContext,
  openedAt: string | undefined,
  startedAt: number,
  unreadMs: number,
): void {
  if (!client.events.wanted) return;
  const openMs = client.clock.now() - startedAt;
  const place = openedAt === undefined ? {} : { openedAt };
  client.events.emit({ type: 'unread-stream', path: method.path, openMs, unreadMs, ...place });
}
