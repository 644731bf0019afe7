/** Takes what a call gives. An RxJS subscriber is one. */
export interface CallSink {
  /** false: no more for now, until `CallExecution.readOn()`. */
  next(message: unknown): unknown;
  error(error: unknown): void;
  complete(): void;
}
