import type { Bound } from '../../support/bound.js';
import type { OptionalProgram } from '../../support/programs.js';

/** Duration of a run: short in `npm test` and `npm run promises`; full in `promises --full` and `npm run soak`. */
export type Length = 'short' | 'full';

/** The bounds by which a run is judged. 'counts' (`npm test`) omits the bounds that are `timed`. */
export type Which = 'counts' | 'all';

/** Kind of server that a scenario is run against. */
export interface UpstreamKind {
  /** Bare grpc-js, Python's grpcio, Go's grpc-go (plain only), or this library's server. */
  readonly implementation: 'grpc-js' | 'grpcio' | 'grpc-go' | 'ours';
  readonly security: 'plain' | 'TLS';
}

/** Input of `Scenario.measure`. */
export interface Run {
  readonly length: Length;
  /** The value 'counts' selects longer limits and fewer calls per second, so that any machine meets the bounds on counts. */
  readonly which: Which;
  /** Returns a random number that is at least 0 and below 1, derived from the seed of the run. */
  readonly random: () => number;
  /** The kinds of upstreams to run against. Contains only those that are installed. */
  readonly kinds: readonly UpstreamKind[];
  /** Aborted when the result is no longer needed. Then the functions passed to `onEnd` run. */
  readonly signal: AbortSignal;
  /** Adds a line to the output of the run. */
  report(line: string): void;
  /** Registers a cleanup. Cleanups are called after the run, the last one first. */
  onEnd(cleanUp: () => unknown): void;
  /** Registers a cleanup that closes `resource`. Returns `resource`. */
  closeAtEnd<T extends { close(): unknown }>(resource: T): T;
}

/** Figures by their names. A name may end in ' @' and the upstream or the variant that was measured, such as ' @down 3 s'. */
export type Measured = Readonly<Record<string, number | string>>;

/** The required range of a figure, which each upstream and each variant must meet. */
export interface ScenarioBound extends Bound {
  /** True if a busy machine changes the figure: a duration, a rate, or a share. The bound is then ignored if `which` is 'counts'. */
  readonly timed?: boolean;
}

/** A promise of the library in one scenario, measured from outside the library. */
export interface Scenario {
  /** Name of its file, without '.ts'. */
  readonly name: string;
  /** Programs that the scenario needs. If one is not installed, the scenario is skipped. */
  readonly needs?: readonly OptionalProgram[];
  /** The title of the test, and the guarantee in docs/internals/guarantees.md. */
  readonly promise: string;
  /** Figures without a bound are informational. */
  readonly bounds: Readonly<Record<string, ScenarioBound>>;
  /** Bounds of a full run. Each replaces the bound of the same name in `bounds`, or is added. */
  readonly fullBounds?: Readonly<Record<string, ScenarioBound>>;
  /** Creates the scenario and measures its figures. */
  measure(run: Run): Promise<Measured>;
}
