import type { LostConnection } from '../evidence/classify.js';

/** Time in milliseconds after the first loss within which attempts lost on one open connection count as lost together. */
const TOGETHER_MS = 250;

interface Loss {
  readonly at: number;
  readonly decision: boolean;
  /** True if the connection accepted no more streams at this loss, or at another loss within `TOGETHER_MS`. */
  acceptsNoStreams: boolean;
}

/**
 * Makes one decision for all attempts that are lost with one closed connection, regardless of the time between their failures, because the
 * shutdown or crash of a server is a single event. The number of these attempts is bounded, because a closed connection accepts no more
 * streams. A proxy may reset stream after stream on a connection that stays open: each group of resets within 250 ms is one event.
 */
export class LostTogether {
  private readonly losses = new WeakMap<object, Loss>();

  /** Returns the decision for a lost attempt. `decide` is called for the first attempt of an event, and for a later one if it returned false. */
  decideOnce({ connection, acceptsNoStreams }: LostConnection, now: number, decide: () => boolean): boolean {
    const loss = this.losses.get(connection);
    if (loss !== undefined && now - loss.at <= TOGETHER_MS) {
      loss.acceptsNoStreams ||= acceptsNoStreams;
      return loss.decision;
    }
    if (loss?.acceptsNoStreams === true && loss.decision) return true;
    const decision = decide();
    this.losses.set(connection, { at: now, decision, acceptsNoStreams });
    return decision;
  }
}
