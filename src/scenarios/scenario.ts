import type { FaultProxy } from 'nestjs-resilient-grpc/testing';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import type { ContenderSetup } from '../contenders/contender-setup.js';
import type { Contest } from '../load/contest.js';
import type { CallRate } from '../load/due-calls.js';
import type { FigureName } from '../report/figures.js';

/** What a scenario acts on. */
export interface Stage {
  readonly contest: Contest;
  readonly upstream: UpstreamProcess;
  readonly seconds: number;
  /** Load of each contender. */
  readonly rate: CallRate;
  /** Tells who watches what happens. */
  readonly say: (text: string) => void;
}

/** A stage with a proxy between the contenders and the upstream. */
export interface ProxiedStage extends Stage {
  readonly proxy: FaultProxy;
}

interface ScenarioTerms {
  readonly leastSeconds: number;
  readonly setup: ContenderSetup;
  /** The figures it is about, which the table shows. */
  readonly figures: readonly FigureName[];
}

/** What happens to the upstream, and when. `proxied`: the contenders reach it through a proxy, which makes the faults. */
export type Scenario =
  | (ScenarioTerms & { readonly proxied: false; play(stage: Stage): Promise<void> })
  | (ScenarioTerms & { readonly proxied: true; play(stage: ProxiedStage): Promise<void> });
