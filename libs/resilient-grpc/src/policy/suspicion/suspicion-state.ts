/** What speaks against a connection since it was last heard of. Times are monotonic milliseconds. */
export interface Silence {
  /** Of the first call that timed out: before that nobody looked at the connection. */
  readonly since: number;
  /** Bytes the connection had read by then. */
  readonly bytesRead: number;
  /** Calls that timed out. */
  readonly timeouts: number;
  /** How long the longest of them had waited. */
  readonly longestMs: number;
  readonly lastTimeoutAt: number;
  /** This connection's part of `spreadMs`. */
  readonly spreadMs: number;
}

/** Probes so far. */
export interface Probes {
  /** The next one may begin then. */
  readonly nextAt: number;
  readonly pings: number;
}

/** Why a connection is trusted. */
export type TrustReason =
  /** Nothing has happened. */
  | 'new'
  /** It read a byte, whatever was in it. */
  | 'heard'
  /** Our own event loop was late: calls timed out, and bytes were not read, on our account. */
  | 'own-delay'
  /** Too few calls timed out, too long ago. */
  | 'forgotten'
  /** It is dead as far as we can tell, and there were too many replacements to make another. */
  | 'too-many';

/** What is thought of one connection. */
export type SuspicionState =
  | { readonly kind: 'trusted'; readonly because: TrustReason; readonly probes: Probes }
  /** Calls timed out, and nothing was heard since. */
  | { readonly kind: 'suspected'; readonly silence: Silence; readonly probes: Probes }
  /** It was asked, by a call. */
  | { readonly kind: 'probed'; readonly silence: Silence; readonly probes: Probes; readonly pingAt: number }
  /** It was asked by a PING as well. */
  | { readonly kind: 'pinged'; readonly silence: Silence; readonly probes: Probes; readonly endsAt: number }
  /** Neither was answered. It lives on until another connection is READY. */
  | { readonly kind: 'dead'; readonly silence: Silence; readonly probes: Probes }
  /** Another connection is READY. */
  | { readonly kind: 'replaceable'; readonly silence: Silence; readonly probes: Probes; readonly endsAt: number }
  /** It is to be ended. */
  | { readonly kind: 'given-up'; readonly silence: Silence; readonly probes: Probes };

/** What changes what is thought of a connection. */
export type SuspicionEvent =
  /** A call on it was ended on this side because it took too long: after `waitedMs`. */
  | { readonly type: 'timed-out'; readonly at: number; readonly bytesRead: number; readonly waitedMs: number }
  /** Somebody looked. */
  | {
      readonly type: 'look';
      readonly at: number;
      readonly bytesRead: number;
      /** Our own event loop was late since the last look. */
      readonly late: boolean;
      /** Another connection is READY that can take its place. */
      readonly otherReady: boolean;
    }
  /** Its replacement is refused. */
  | { readonly type: 'spared' };

/** A connection as it begins. */
export const NOT_SUSPECTED: SuspicionState = { kind: 'trusted', because: 'new', probes: { nextAt: 0, pings: 0 } };
