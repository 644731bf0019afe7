import type { INestApplicationContext, LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import type { ContenderSetup } from '../contenders/contender-setup.js';
import type { Contender, ContenderName } from '../contenders/contender.js';
import { CONTENDERS, ContendersModule, type CalledUpstream } from '../contenders/contenders.module.js';
import { Comparison } from '../load/comparison.js';
import type { CallRate } from '../load/load.js';
import { warmUp } from '../load/warm-up.js';
import { PATIENCE } from '../patience.js';
import { CALL_FIGURES } from '../report/figures.js';
import { type Named, table, type TableTerms } from '../report/table.js';

/** Maximum time in milliseconds for open calls to finish, and for feeds to catch up, after the end of the load. */
export const SETTLE_MS = 10_000 * PATIENCE;

/** Options of a scenario run. */
export interface ScenarioRun {
  readonly seconds: number;
  /** Load of each contender. */
  readonly rate: CallRate;
  readonly logger: LoggerService;
  /** Prints a progress message. */
  readonly report: (text: string) => void;
}

/** The result of a scenario. */
export interface Outcome {
  /** The figures of each contender, for `--json`. */
  readonly reports: Readonly<Partial<Record<ContenderName, object>>>;
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

/** Creates the outcome of a scenario from the figures of the contenders. */
export function outcomeOf<S extends Named>(results: readonly S[], terms: TableTerms<S>): Outcome {
  return {
    reports: Object.fromEntries(results.map(({ name, ...figures }) => [name, rounded(figures)])),
    table: table(results, terms),
  };
}

/** An upstream and its contenders, connected and warmed up. */
export interface Arena<U extends CalledUpstream> {
  readonly upstream: U;
  readonly app: INestApplicationContext;
  /** Adds a cleanup step, which runs before the arena is closed. */
  readonly onEnd: (step: () => void | Promise<void>) => void;
}

/** Starts an upstream, runs `work` with its contenders, and cleans up. */
export async function inArena<U extends CalledUpstream, T>(
  setup: ContenderSetup,
  start: () => Promise<U>,
  { logger }: ScenarioRun,
  work: (arena: Arena<U>) => Promise<T>,
): Promise<T> {
  const upstream = await start();
  const cleanUp: (() => void | Promise<void>)[] = [() => upstream.stop()];
  try {
    const app = await NestFactory.createApplicationContext(ContendersModule.forUpstream(upstream, setup), { logger });
    app.enableShutdownHooks();
    cleanUp.unshift(() => app.close());
    await warmUp(app.get<readonly Contender[]>(CONTENDERS));
    return await work({ upstream, app, onEnd: (step) => void cleanUp.unshift(step) });
  } finally {
    for (const step of cleanUp) await step();
  }
}

/** The objects that a call scenario acts on. */
export interface Stage<U extends CalledUpstream> extends ScenarioRun {
  readonly comparison: Comparison;
  readonly upstream: U;
}

/** Runs `perform` while all contenders get the same load, and returns the figures of their calls. */
export function compareCalls<U extends CalledUpstream>(
  setup: ContenderSetup,
  start: () => Promise<U>,
  run: ScenarioRun,
  perform: (stage: Stage<U>) => Promise<void>,
): Promise<Outcome> {
  return inArena(setup, start, run, async ({ upstream, app, onEnd }) => {
    const comparison = new Comparison(app.get<readonly Contender[]>(CONTENDERS), upstream);
    onEnd(() => comparison.close());
    await perform({ ...run, comparison, upstream });
    await comparison.finish(SETTLE_MS);
    return outcomeOf(comparison.results(), { figures: CALL_FIGURES, tunedTitle: setup.tunedTitle });
  });
}

/** Starts one upstream. */
export const oneUpstream = () => UpstreamProcess.start();

function rounded(figures: object): object {
  const entries = Object.entries(figures).map(([key, value]: [string, unknown]) => [
    key,
    typeof value === 'number' ? Math.round(value) : value,
  ]);
  return Object.fromEntries(entries) as object;
}
