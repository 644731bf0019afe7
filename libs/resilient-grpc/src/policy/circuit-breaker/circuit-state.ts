/**
 * Token of an admission. A result counts by the time its attempt was admitted, not by the time it ended. Increases with every state
 * change and with every probe.
 */
export type CircuitToken = number;

/** State of a circuit breaker. Times are monotonic milliseconds. */
export type CircuitState =
  /** All attempts are admitted and counted. */
  | { readonly kind: 'closed'; readonly token: CircuitToken }
  /** No attempt is admitted before `probeAt`. */
  | {
      readonly kind: 'open';
      readonly token: CircuitToken;
      readonly probeAt: number;
      /** Number of consecutive breaks without a successful probe in between. */
      readonly breaks: number;
    }
  /** One probe at a time is admitted. */
  | {
      readonly kind: 'half-open';
      /** Token of the latest probe. */
      readonly token: CircuitToken;
      /** Token of the first probe. The result of any probe since then counts, also of a slow one that was replaced by a later probe. */
      readonly since: CircuitToken;
      /** Time until which the latest probe holds the only permit; −Infinity if it has returned the permit. */
      readonly probeEndsAt: number;
      readonly breaks: number;
    };

/** Initial state. */
export const CLOSED: CircuitState = { kind: 'closed', token: 0 };
