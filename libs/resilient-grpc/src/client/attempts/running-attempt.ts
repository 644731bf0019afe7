import type { Attempt, AttemptEnd, AttemptListener, ResponseHeaders } from '../../call/attempt.js';
import { NO_METADATA } from '../../channel/wire/call-metadata.js';
import type { PendingMetadata } from '../interceptors/call-hooks.js';

/** What runs the attempts of a call. */
export interface AttemptRunner {
  /** Receives the events of the attempt that decides the call. */
  readonly call: AttemptListener;
  /** The attempt that decides the call; `undefined` before one does. */
  readonly current: RunningAttempt | undefined;
  /** Called when an attempt that does not decide the call receives headers. It may become `current`. */
  rivalAnswered(run: RunningAttempt): void;
  rivalEnded(run: RunningAttempt, end: AttemptEnd): void;
}

/** One attempt, from the preparation of its metadata to its end. */
export class RunningAttempt implements AttemptListener {
  /** `undefined` until the attempt has started. */
  attempt: Attempt | undefined;
  /** Metadata that is being prepared. */
  pending: PendingMetadata | undefined;

  constructor(
    private readonly runner: AttemptRunner,
    readonly number: number,
    /** Monotonic milliseconds. */
    readonly startedAt: number,
    /** True if the attempt is sent because others are slow. */
    readonly othersAreSlow: boolean,
  ) {}

  /** True if a part of the attempt may have been sent. */
  get isSent(): boolean {
    return this.attempt !== undefined && this.attempt.unsentBecause === undefined;
  }

  get unsentBecause(): string | undefined {
    if (this.attempt !== undefined) return this.attempt.unsentBecause;
    return this.pending && `waiting for ${this.pending.waitsFor}`;
  }

  onHeaders(headers: ResponseHeaders): void {
    const { runner } = this;
    if (runner.current !== this) runner.rivalAnswered(this);
    if (runner.current === this) runner.call.onHeaders(headers);
  }

  onMessage(message: unknown): void {
    const { runner } = this;
    if (runner.current === this) runner.call.onMessage(message);
  }

  onEnd(end: AttemptEnd): void {
    const { runner } = this;
    if (runner.current === this) runner.call.onEnd(end);
    else runner.rivalEnded(this, end);
  }
}

/** Returns the end of an attempt that was not sent. */
export function unsentEnd(code: number, details: string): AttemptEnd {
  return {
    code,
    details,
    unsentBecause: details,
    endedHere: 'no',
    channelReady: false,
    picked: false,
    headersReceived: false,
    messagesReceived: 0,
    contentType: undefined,
    metadata: NO_METADATA,
    peer: undefined,
    connection: undefined,
  };
}
