import type { FaultProxy } from 'nestjs-resilient-grpc/testing';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import type { Contest } from '../load/contest.js';
import type { CallRate } from '../load/due-calls.js';

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

/** What happens to the upstream, and when. `proxied`: the contenders reach it through a proxy, which makes the faults. */
export type Scenario =
  | { readonly proxied: false; readonly leastSeconds: number; play(stage: Stage): Promise<void> }
  | { readonly proxied: true; readonly leastSeconds: number; play(stage: ProxiedStage): Promise<void> };
