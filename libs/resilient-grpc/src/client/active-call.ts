import type { MethodKind } from '../call/method.js';

/** An open call. */
export interface ActiveCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly peer?: string;
  readonly startedAt: Date;
  readonly lastMessageAt?: Date;
  readonly sent: number;
  readonly received: number;
  readonly waiting: boolean;
  /** Number of times the stream was resumed; present only for resumable streams. */
  readonly resumes?: number;
  /** 'file:line' in the application; present for streams if `traceStreams` is on. */
  readonly openedAt?: string;
  /** Ends the call with CANCELLED. */
  cancel(reason?: string): void;
}
