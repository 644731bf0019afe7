import type { MethodKind } from '../call/method.js';

/** An open call. */
export interface ActiveCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly peer?: string;
  readonly startedAt: Date;
  readonly lastMessageAt?: Date;
  /** Number of request messages sent. */
  readonly sent: number;
  /** Number of response messages received. */
  readonly received: number;
  /** True if the call is waiting for the channel, or if the resumable stream is waiting for its next call. */
  readonly waiting: boolean;
  /** Number of times the stream was resumed; present only for resumable streams. */
  readonly resumes?: number;
  /** 'file:line' of the application code that made the call; present for streams. In production, absent until the client has reported an unread stream. */
  readonly openedAt?: string;
  /** Ends the call with CANCELLED. */
  cancel(reason?: string): void;
}
