/** Why an attempt is made again. */
export type RetryReason =
  | 'unsent'
  | 'refused'
  | 'connection-lost'
  | 'retryable-status'
  | 'retryable-http'
  | 'attempt-timeout'
  | 'stream-idle'
  | 'credentials'
  /** The server said when. The count of retries since a pushback starts at 0 again. */
  | 'pushback';

/** Why there is no further attempt. */
export type NoRetryReason =
  | 'success'
  | 'committed'
  | 'fatal-status'
  | 'not-safe-to-repeat'
  | 'pushback'
  | 'throttled'
  | 'attempts-exhausted'
  | 'deadline'
  /** The call serves an inbound retry, which would multiply with this one. */
  | 'retry-chain'
  | 'cancelled'
  | 'draining'
  | 'disabled'
  | 'local'
  | 'request-not-replayable'
  | 'protocol';

/** Whether a call goes on after a failed attempt, and why. */
export type RetryDecision =
  | {
      readonly retry: true;
      /**
       * 'wait': the server's application never saw it; it waits for the channel, and that is no attempt (gRFC A6, "Transparent
       * Retries"). 'policy': another attempt, after a backoff.
       */
      readonly kind: 'wait' | 'policy';
      readonly delayMs: number;
      readonly because: RetryReason;
    }
  | { readonly retry: false; readonly because: NoRetryReason };
