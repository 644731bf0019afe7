/** Reason for a retry. */
export type RetryReason =
  | 'unsent'
  | 'refused'
  | 'connection-lost'
  | 'retryable-status'
  | 'retryable-http'
  | 'attempt-timeout'
  | 'stream-idle'
  | 'credentials'
  /** The server set the delay. Resets the count of retries since a pushback to 0. */
  | 'pushback';

/** Reason why a call is not retried. */
export type NoRetryReason =
  | 'success'
  | 'committed'
  | 'fatal-status'
  | 'not-safe-to-repeat'
  | 'pushback'
  | 'throttled'
  | 'attempts-exhausted'
  | 'deadline'
  /** The call serves an inbound retry, and retries of both layers would multiply. */
  | 'retry-chain'
  | 'cancelled'
  | 'draining'
  | 'disabled'
  | 'local'
  | 'request-not-replayable'
  | 'protocol';

/** Decision to retry a call or to end it after an attempt, with the reason. */
export type RetryDecision =
  | {
      readonly retry: true;
      /**
       * 'wait': the server's application did not receive the call; it waits for the channel, which does not count as an attempt
       * (gRFC A6, "Transparent Retries"). 'policy': another attempt after a backoff.
       */
      readonly kind: 'wait' | 'policy';
      readonly delayMs: number;
      readonly because: RetryReason;
    }
  | { readonly retry: false; readonly because: NoRetryReason };
