import type { Random } from '../../time/random.js';

/**
 * Thresholds for probing and replacing a silent connection; durations in milliseconds. Tuned by simulating fleets of clients: a server stall
 * of 5 s causes no further load after it ends.
 */
export const SUSPICION = {
  /** Number of timed-out calls before a connection is probed. */
  timeouts: 3,
  /** Minimum time without a received byte before a connection is probed. */
  silenceMs: 5_000,
  /** Minimum time without a received byte, as a multiple of the duration of the longest timed-out call. */
  silencePerCall: 2,
  /** Maximum random time added to the minimum silence, so that the clients of one stalled server do not all probe it at once. */
  spreadMs: 5_000,
  /** Time without a further timed-out call, in addition to the required silence, before a suspected connection is trusted again. */
  forgetMs: 60_000,
  probeMs: 5_000,
  /** Delay from the start of a probe to its PING. */
  pingAfterMs: 2_500,
  /** Minimum interval between the starts of two probes. */
  probeRestMs: 30_000,
  /**
   * Minimum interval from a PING to the next probe, starting with PING number `freePings`. Strict servers count more frequent PINGs
   * and close the connection at the third.
   */
  pingRestMs: 300_000,
  freePings: 2,
  /**
   * Time for which a dead connection is still observed after another connection becomes READY, because a server that resumes may serve the
   * new connection before it responds on the old one.
   */
  confirmMs: 500,
  maxReplacements: 3,
  replacementWindowMs: 600_000,
  /**
   * Time after a counted replacement during which further replacements are not counted: they have one cause, and together they cost no more
   * than a new channel.
   */
  oneReplacementMs: 10_000,
};

/** Evidence against a connection since its last received byte. Times are monotonic milliseconds. */
export interface SuspicionEvidence {
  /** Time at which the first call timed out; the connection was not observed before that. */
  readonly since: number;
  /** Number of bytes that the connection had received at `since`. */
  readonly bytesRead: number;
  readonly timeouts: number;
  /** Duration of the longest timed-out call. */
  readonly longestMs: number;
  readonly lastTimeoutAt: number;
  /** Random part of the minimum silence, up to `SUSPICION.spreadMs`. */
  readonly spreadMs: number;
}

export interface ProbeHistory {
  readonly nextAt: number;
  readonly pings: number;
}

/** A connection on which calls timed out. */
export interface Distrust {
  readonly kind:
    /** Calls timed out, and no byte has been received since. */
    | 'suspected'
    /** A probe call was sent. */
    | 'probed'
    /** A PING was sent after the probe. */
    | 'pinged'
    /** Neither the probe nor the PING was answered. The connection stays open until another one is READY. */
    | 'dead'
    | 'replaceable'
    | 'abandoned';
  readonly evidence: SuspicionEvidence;
  readonly probes: ProbeHistory;
  /** Time of the next step of a connection that is probed, pinged, or replaceable. */
  readonly dueAt: number;
}

export type SuspicionState = { readonly kind: 'trusted'; readonly probes: ProbeHistory } | Distrust;

export type SuspicionEvent =
  /** A call on the connection, or a call that waited for a stream, timed out on this side after `waitedMs`. */
  | { readonly type: 'timed-out'; readonly at: number; readonly bytesRead: number; readonly waitedMs: number }
  | {
      readonly type: 'check';
      readonly at: number;
      readonly bytesRead: number;
      /** True if the event loop of this process has been delayed since the last check. */
      readonly late: boolean;
      /** True if another connection is READY for new calls. */
      readonly otherReady: boolean;
    }
  /** The replacement of the connection was rejected. */
  | { readonly type: 'cleared' };

export const NOT_SUSPECTED: SuspicionState = { kind: 'trusted', probes: { nextAt: 0, pings: 0 } };

type EventOf<T extends SuspicionEvent['type']> = Extract<SuspicionEvent, { readonly type: T }>;

/** Returns the suspicion of a connection after `event`, or the same object if nothing changes. */
export function nextSuspicion(state: SuspicionState, event: SuspicionEvent, random: Random): SuspicionState {
  switch (event.type) {
    case 'timed-out':
      return recordTimeout(state, event, random);
    case 'check':
      return state.kind === 'trusted' ? state : check(state, event);
    case 'cleared':
      return trust(state);
  }
}

function recordTimeout(state: SuspicionState, event: EventOf<'timed-out'>, random: Random): SuspicionState {
  const { at, bytesRead, waitedMs } = event;
  if (state.kind !== 'trusted' && state.evidence.bytesRead === bytesRead) {
    const { evidence } = state;
    const timeouts = evidence.timeouts + 1;
    const longestMs = Math.max(evidence.longestMs, waitedMs);
    return { ...state, evidence: { ...evidence, timeouts, longestMs, lastTimeoutAt: at } };
  }
  // The silence starts with this timeout, because the connection was trusted, or has received bytes since the earlier timeouts.
  const spreadMs = random() * SUSPICION.spreadMs;
  const evidence = { since: at, bytesRead, timeouts: 1, longestMs: waitedMs, lastTimeoutAt: at, spreadMs };
  return { kind: 'suspected', evidence, probes: state.probes, dueAt: Infinity };
}

function check(state: Distrust, event: EventOf<'check'>): SuspicionState {
  const { at, late } = event;
  if (event.bytesRead !== state.evidence.bytesRead) return trust(state);
  switch (state.kind) {
    case 'suspected': {
      // The event loop of this process was delayed, so the timeouts and the silence are no evidence against the connection.
      if (late) return trust(state);
      const { evidence, probes } = state;
      const needed = silenceNeeded(evidence);
      if (at - evidence.lastTimeoutAt >= needed + SUSPICION.forgetMs) return trust(state);
      if (evidence.timeouts < SUSPICION.timeouts || at - evidence.since < needed || at < probes.nextAt) return state;
      const nextAt = at + SUSPICION.probeRestMs;
      return { kind: 'probed', evidence, probes: { ...probes, nextAt }, dueAt: at + SUSPICION.pingAfterMs };
    }
    // After a delay of this process, the probe and the PING are not repeated. Only their timeouts restart.
    case 'probed':
      if (late) return { ...state, dueAt: at + SUSPICION.pingAfterMs };
      return at < state.dueAt ? state : moveToPinged(state, at);
    case 'pinged':
      if (late) return { ...state, dueAt: at + SUSPICION.probeMs - SUSPICION.pingAfterMs };
      return at < state.dueAt ? state : { ...state, kind: 'dead' };
    case 'dead':
      return event.otherReady ? { ...state, kind: 'replaceable', dueAt: at + SUSPICION.confirmMs } : state;
    case 'replaceable':
      if (!event.otherReady) return { ...state, kind: 'dead' };
      if (late) return { ...state, dueAt: at + SUSPICION.confirmMs };
      return at < state.dueAt ? state : { ...state, kind: 'abandoned' };
    case 'abandoned':
      return state;
  }
}

/** Returns the minimum silence before a connection is probed, in milliseconds. */
function silenceNeeded({ longestMs, spreadMs }: SuspicionEvidence): number {
  return Math.max(SUSPICION.silenceMs, SUSPICION.silencePerCall * longestMs) + spreadMs;
}

/**
 * Moves to 'pinged'. A probe is an ordinary call. It is queued while the server allows no more streams, and blocked while a slow reader
 * keeps the flow-control window of the connection closed. A PING bypasses both. Therefore, a connection is considered dead only after
 * an unanswered PING.
 */
function moveToPinged({ evidence, probes }: Distrust, at: number): SuspicionState {
  const pings = probes.pings + 1;
  const nextAt = pings < SUSPICION.freePings ? probes.nextAt : at + SUSPICION.pingRestMs;
  return { kind: 'pinged', evidence, probes: { pings, nextAt }, dueAt: at + SUSPICION.probeMs - SUSPICION.pingAfterMs };
}

function trust({ probes }: SuspicionState): SuspicionState {
  return { kind: 'trusted', probes };
}

/** Times of recent replacements, oldest first. */
export type Replacements = readonly number[];

/** Decision on whether to replace an unresponsive connection. Pass `replacements` to the next decision as `past`. */
export interface ReplacementDecision {
  readonly replace: boolean;
  readonly replacements: Replacements;
}

/** Decides whether an unresponsive connection may be replaced at `now`. */
export function decideReplacement(past: Replacements, now: number): ReplacementDecision {
  const replacements = past.filter((at) => now - at < SUSPICION.replacementWindowMs);
  const last = replacements.at(-1);
  if (last !== undefined && now - last < SUSPICION.oneReplacementMs) return { replace: true, replacements };
  if (replacements.length >= SUSPICION.maxReplacements) return { replace: false, replacements };
  return { replace: true, replacements: [...replacements, now] };
}
