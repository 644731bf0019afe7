import type { LoggerService } from '@nestjs/common';
import type { ContenderName } from '../contenders/contender.js';
import type { CallRate } from '../load/due-calls.js';
import type { ServerKind } from '../upstream/server-kind.js';
import { type Named, table, type TableTerms } from '../report/table.js';

/** Options of a scenario run. */
export interface ScenarioRun {
  readonly seconds: number;
  /** Load of each contender. */
  readonly rate: CallRate;
  /** Server implementation of the upstream. */
  readonly server: ServerKind;
  readonly logger: LoggerService;
  /** Prints a progress message. */
  readonly report: (text: string) => void;
}

/** The result of a scenario. */
export interface Outcome {
  /** The figures of each contender, for `--json`. */
  readonly reports: Readonly<Partial<Record<ContenderName, object>>>;
  /** Figures that do not belong to a contender, for `--json`. */
  readonly facts?: object;
  /** The table for the terminal. */
  readonly table: string;
}

/** A scenario: faults that affect all contenders equally, and the figures of the contenders. */
export interface Scenario {
  readonly minSeconds: number;
  /** Duration if `--seconds` is not given. */
  readonly defaultSeconds: number;
  /** Runs the scenario and cleans up. */
  run(run: ScenarioRun): Promise<Outcome>;
}

/** Figures and table layout of an outcome. */
export interface OutcomeTerms<S extends Named> extends TableTerms<S> {
  readonly report: (result: S) => object;
}

/** Creates the outcome of a scenario from the figures of the contenders. */
export function outcomeOf<S extends Named>(results: readonly S[], terms: OutcomeTerms<S>): Outcome {
  return {
    reports: Object.fromEntries(results.map((result) => [result.name, terms.report(result)])),
    table: table(results, terms),
  };
}
