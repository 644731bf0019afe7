import type { CallOptions, Interceptor, Metadata } from '@grpc/grpc-js';
import type { Attempt, AttemptEnd, AttemptListener, AttemptRequest, StartAttempt } from '../../call/attempt.js';
import type { CallTelemetry } from '../../call/call-telemetry.js';
import type { MethodDescriptor } from '../../call/method.js';
import { attemptMetadata } from '../../channel/attempt/call-metadata.js';
import { RETRY_CHAIN_KEY, HEDGE_MARK } from '../../policy/retry/retry-chain.js';

/** Callbacks for the attempts of a hedged call. */
export interface HedgeAttemptCallbacks {
  readonly request: AttemptRequest;
  readonly isOver: boolean;
  /** Starts an attempt through the stages of its method. */
  readonly startOne: StartAttempt;
  legBegan(leg: HedgeAttempt, headers: Metadata): void;
  legMessage(leg: HedgeAttempt, message: unknown): void;
  legEnded(leg: HedgeAttempt, end: AttemptEnd): void;
}

/** One attempt of a hedged call: its request and its listener. */
export class HedgeAttempt implements AttemptRequest, AttemptListener {
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
    private readonly call: HedgeAttemptCallbacks,
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
 * Returns the metadata of an attempt. An attempt sent because others are slow gets the hedge mark: it has an attempt count like a retry,
 * but nothing has failed, so its server may retry its own calls. It gets no mark if the call itself serves a retry. An attempt that
 * replaces a failed one is a retry.
 */
function hedgeMetadata(metadata: Metadata, number: number, isSlow: boolean): Metadata {
  const copy = attemptMetadata(metadata, number);
  if (isSlow && copy.get(RETRY_CHAIN_KEY).length === 0) copy.set(RETRY_CHAIN_KEY, HEDGE_MARK);
  return copy;
}
