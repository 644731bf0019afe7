/**
 * Marks an admission: results are judged by when their attempt was admitted, not by when they come. Counts up with every
 * change of state and with every probe.
 */
export type CircuitToken = number;

/** A circuit breaker at one moment. Times are monotonic milliseconds. */
export type CircuitState =
  /** All attempts pass, and are counted. */
  | { readonly kind: 'closed'; readonly token: CircuitToken }
  /** None passes before `probeAt`. */
  | {
      readonly kind: 'open';
      readonly token: CircuitToken;
      readonly probeAt: number;
      /** Times it opened in a row: without a probe that succeeded in between. */
      readonly breaks: number;
    }
  /** One probe at a time passes. */
  | {
      readonly kind: 'half-open';
      /** Of the latest probe. */
      readonly token: CircuitToken;
      /** Of the first probe: all from here on decide. One that hung is not the latest any more and may still be right. */
      readonly since: CircuitToken;
      /** Until then the latest probe holds the only permit; −Infinity when it gave it back. */
      readonly probeEndsAt: number;
      readonly breaks: number;
    };

/** As it starts. */
export const CLOSED: CircuitState = { kind: 'closed', token: 0 };
