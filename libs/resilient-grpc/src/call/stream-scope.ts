import type { StreamDemand } from './stream-demand.js';

/**
 * One stream made of several calls, one after the other, as its maker (`resumable`) and the clients that carry the calls know it
 * together: one deadline, one place in the registry, one end.
 */
export interface StreamScope {
  /** The stream of which this is a call. */
  readonly outer: StreamScope | undefined;
  /** How often it was resumed; counted by its maker before the next call begins. */
  readonly resumes: number;
  /** Milliseconds since 1970: when all of it must have ended; Infinity at first. Clients take it from a call that has one. */
  deadline: number;
  /** What clients keep of it, each from its first call on. */
  readonly hosts: Set<StreamHost>;
  /** Messages handed over so far. */
  readonly handedOver: number;
  /** How it is read, where that is on demand. */
  readonly demand: StreamDemand | undefined;
  /** True if no call follows the last one. */
  readonly isOver: boolean;
  /** An attempt of the call that runs goes out. The time before it (a wait for the channel, a retry's backoff) is not its life. */
  attemptBegan(): void;
  /** Ends it in order, as at a shutdown: nothing is resumed any more. */
  complete(): void;
  /** Ends it with `error`: at the end of a drain, by close, by hand. */
  fail(error: unknown): void;
}

/** A client's side of a stream. */
export interface StreamHost {
  /** The stream is over. */
  ended(how: StreamOutcome): void;
}

/** How a stream, or a call, left: 'cancelled' by its reader. */
export type StreamOutcome = 'succeeded' | 'failed' | 'cancelled';

let current: StreamScope | undefined;

/**
 * Does `work`; calls that begin in it, in the same turn, belong to `scope`. Only for what the maker of a stream cannot hand his
 * scope to: an Observable with operators around its call.
 */
export function inStreamScope<T>(scope: StreamScope | undefined, work: () => T): T {
  const outer = current;
  current = scope;
  try {
    return work();
  } finally {
    current = outer;
  }
}

/** The stream to which a call that begins now belongs; undefined: it stands alone. */
export function currentStreamScope(): StreamScope | undefined {
  return current;
}
