import type { MethodKind } from '../call/method.js';

/** One call that has not ended. */
export interface ActiveCall {
  readonly path: string;
  readonly kind: MethodKind;
  readonly peer?: string;
  readonly startedAt: Date;
  readonly lastMessageAt?: Date;
  readonly sent: number;
  readonly received: number;
  readonly waiting: boolean;
  /** Of a stream that is resumed: how often it was. */
  readonly resumes?: number;
  /** 'file:line' in the application, where `traceStreams` is on. */
  readonly openedAt?: string;
  /** Ends it as CANCELLED. */
  cancel(reason?: string): void;
}
