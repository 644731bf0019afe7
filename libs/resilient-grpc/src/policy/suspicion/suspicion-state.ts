/** Evidence against a connection since its last received byte. Times are monotonic milliseconds. */
export interface SuspicionEvidence {
  /** Time of the first timed-out call; the connection was not observed before. */
  readonly since: number;
  /** Bytes that the connection had received by then. */
  readonly bytesRead: number;
  /** Number of timed-out calls. */
  readonly timeouts: number;
  /** Wait of the longest timed-out call. */
  readonly longestMs: number;
  readonly lastTimeoutAt: number;
  /** Random delay of this connection, up to `spreadMs` of the policy. */
  readonly spreadMs: number;
}

/** History of the probes of a connection. */
export interface ProbeHistory {
  /** Earliest time of the next probe. */
  readonly nextAt: number;
  readonly pings: number;
}

/** Reason for trusting a connection. */
export type TrustReason =
  /** No call has timed out. */
  | 'new'
  /** The connection received at least one byte. */
  | 'bytes-received'
  /** The event loop of this process was delayed, so the timeouts and unread bytes are no evidence against the connection. */
  | 'own-delay'
  /** Too few calls timed out, and too long ago. */
  | 'forgotten'
  /** The connection appears dead, but the limit of replacements is reached. */
  | 'too-many';

interface Distrust {
  readonly silence: SuspicionEvidence;
  readonly probes: ProbeHistory;
}

/** Suspicion of one connection. */
export type SuspicionState =
  | { readonly kind: 'trusted'; readonly because: TrustReason; readonly probes: ProbeHistory }
  /** Calls timed out, and no byte was received since. */
  | (Distrust & { readonly kind: 'suspected' })
  /** A probe call was sent. */
  | (Distrust & { readonly kind: 'probed'; readonly pingAt: number })
  /** A PING was sent, too. */
  | (Distrust & { readonly kind: 'pinged'; readonly endsAt: number })
  /** Neither was answered. The connection stays open until another one is READY. */
  | (Distrust & { readonly kind: 'dead' })
  /** Another connection is READY. */
  | (Distrust & { readonly kind: 'replaceable'; readonly endsAt: number })
  /** The connection must be closed. */
  | (Distrust & { readonly kind: 'given-up' });

/** Event that may change the suspicion of a connection. */
export type SuspicionEvent =
  /** A call on the connection timed out on this side after `waitedMs`. */
  | { readonly type: 'timed-out'; readonly at: number; readonly bytesRead: number; readonly waitedMs: number }
  /** The connection was checked. */
  | {
      readonly type: 'look';
      readonly at: number;
      readonly bytesRead: number;
      /** True if the event loop of this process was delayed since the last check. */
      readonly late: boolean;
      /** True if another connection is READY and can take over. */
      readonly otherReady: boolean;
    }
  /** The replacement of the connection was rejected. */
  | { readonly type: 'spared' };

/** Initial state of a connection. */
export const NOT_SUSPECTED: SuspicionState = { kind: 'trusted', because: 'new', probes: { nextAt: 0, pings: 0 } };
