/** Short in the tests; full in the soak. */
export type Length = 'short' | 'full';

/** One of the servers that a situation is played against. */
export interface UpstreamKind {
  /** Bare grpc-js, or Python's grpcio. */
  readonly implementation: 'grpc-js' | 'grpcio';
  readonly security: 'plain' | 'TLS';
}

/** What a situation gets from whoever plays it. */
export interface Run {
  readonly length: Length;
  /** Chance by a seed, which the player names. */
  readonly random: () => number;
  /** The upstreams to play against, at the same time; those that this machine has. */
  readonly kinds: readonly UpstreamKind[];
  /** Aborted when nobody wants the result any more. What was given to `onEnd` is called then. */
  readonly signal: AbortSignal;
  /** One line for whoever reads along. */
  say(line: string): void;
  /** Called when the play is over, however it ended; the last one first. */
  onEnd(cleanUp: () => unknown): void;
}

/** Figures by their names. A name may end in ' @' and the upstream it was measured against. */
export type Measured = Readonly<Record<string, number | string>>;

/** What a figure has to be, against each upstream. */
export interface Bound {
  readonly atLeast?: number;
  readonly atMost?: number;
}

/** A promise of the library, in a situation that somebody outside can see. */
export interface Situation {
  /** As its file. */
  readonly name: string;
  /** One sentence, which the docs quote. */
  readonly promise: string;
  /** A figure without a bound is for information. */
  readonly bounds: Readonly<Record<string, Bound>>;
  /** In a full play, in place of those of `bounds` or besides them. */
  readonly fullBounds?: Readonly<Record<string, Bound>>;
  /** Makes the situation and measures. */
  play(run: Run): Promise<Measured>;
}
