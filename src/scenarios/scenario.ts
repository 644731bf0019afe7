import type { LoggerService } from '@nestjs/common';
import type { ContenderName } from '../contenders/contender.js';
import type { CallRate } from '../load/due-calls.js';
import type { ServerKind } from '../upstream/server-kind.js';
import { type Named, table, type TableTerms } from '../report/table.js';

/** What a scenario is played with. */
export interface ScenarioRun {
  readonly seconds: number;
  /** Load of each contender. */
  readonly rate: CallRate;
  /** What the upstream is served by. */
  readonly server: ServerKind;
  readonly logger: LoggerService;
  /** Tells who watches what happens. */
  readonly say: (text: string) => void;
}

/** How a scenario ended. */
export interface Outcome {
  /** The figures of each contender, for programs. */
  readonly reports: Readonly<Partial<Record<ContenderName, object>>>;
  /** What is told once, for programs. */
  readonly facts?: object;
  /** Those it is about, for people. */
  readonly table: string;
}

/** What `--scenario` takes: something that happens to all contenders alike, and what came of it. */
export interface Scenario {
  readonly leastSeconds: number;
  /** Where `--seconds` does not say otherwise. */
  readonly defaultSeconds: number;
  /** Leaves nothing behind. */
  play(run: ScenarioRun): Promise<Outcome>;
}

/** What is told of where the contenders stand. */
export interface OutcomeTerms<S extends Named> extends TableTerms<S> {
  readonly report: (standing: S) => object;
}

/** The outcome of a scenario in which the contenders stand so. */
export function outcomeOf<S extends Named>(standings: readonly S[], terms: OutcomeTerms<S>): Outcome {
  return {
    reports: Object.fromEntries(standings.map((standing) => [standing.name, terms.report(standing)])),
    table: table(standings, terms),
  };
}
