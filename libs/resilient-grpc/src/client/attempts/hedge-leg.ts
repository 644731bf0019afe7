import type { CallOptions, Interceptor, Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import type { CallTelemetry } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import { attemptMetadata } from '../../channel/attempt/call-metadata.js';
import { CHAIN_MARK, HEDGE_MARK } from '../../policy/retry/chain-stop.js';

/** What the attempts of a hedged call tell. */
export interface HedgeLegOwner {
  readonly request: AttemptRequest;
  readonly isOver: boolean;
  /** The stages under it. */
  readonly startOne: StartAttempt;
  legBegan(leg: HedgeLeg, headers: Metadata): void;
  legMessage(leg: HedgeLeg, message: unknown): void;
  legEnded(leg: HedgeLeg, end: AttemptEnd): void;
}

/** One of the attempts of a hedged call: the request and the listener of its attempt. */
export class HedgeLeg implements AttemptRequest, AttemptListener {
  readonly method: MethodDescriptor;
  readonly deadline: number;
  readonly metadata: Metadata;
  readonly options: CallOptions | undefined;
  readonly interceptors: readonly Interceptor[] | undefined;
  readonly mayRepeat: boolean;
  readonly maxReceiveBytes: number;
  readonly telemetry: CallTelemetry | undefined;
  attempt: Attempt | undefined;

  constructor(
    private readonly call: HedgeLegOwner,
    readonly number: number,
    readonly startedAt: number,
    isSlow: boolean,
  ) {
    const { request } = call;
    this.method = request.method;
    this.deadline = request.deadline;
    this.metadata = hedgeMetadata(request.metadata, number, isSlow);
    this.options = request.options;
    this.interceptors = request.interceptors;
    this.mayRepeat = request.mayRepeat;
    this.maxReceiveBytes = request.maxReceiveBytes;
    this.telemetry = request.telemetry;
  }

  start(payload: unknown): void {
    const attempt = this.call.startOne(this, this);
    this.attempt = attempt;
    if (this.call.isOver) {
      attempt.abandon();
      return;
    }
    attempt.send(payload);
    attempt.halfClose();
    attempt.startRead();
  }

  onHeaders(headers: Metadata): void {
    this.call.legBegan(this, headers);
  }

  onMessage(message: unknown): void {
    this.call.legMessage(this, message);
  }

  onEnd(end: AttemptEnd): void {
    this.call.legEnded(this, end);
  }
}

/**
 * What is sent because others are slow counts its attempts as a retry does, but is none: who serves it may retry, unless its
 * call serves a retry itself. What replaces a failed attempt is a retry.
 */
function hedgeMetadata(metadata: Metadata, number: number, isSlow: boolean): Metadata {
  const copy = attemptMetadata(metadata, number);
  if (isSlow && copy.get(CHAIN_MARK).length === 0) copy.set(CHAIN_MARK, HEDGE_MARK);
  return copy;
}
