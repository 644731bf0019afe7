import type { MethodKind } from '../call/method.js';

/** An open call. */
export interface ActiveCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly peer?: string;
  readonly startedAt: Date;
  readonly lastMessageAt?: Date;
  /** Request messages sent. */
  readonly sent: number;
  /** Response messages received. */
  readonly received: number;
  /** True if the call is waiting for the channel, or the resumable stream for its next call. */
  readonly waiting: boolean;
  /** Number of times the stream was resumed; present only for resumable streams. */
  readonly resumes?: number;
  /** 'file:line' in the application; present for streams if `traceStreams` is on. */
  readonly openedAt?: string;
  /** Ends the call with CANCELLED. */
  cancel(reason?: string): void;
}
