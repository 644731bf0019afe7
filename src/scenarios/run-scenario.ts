import type { LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import type { Contender } from '../contenders/contender.js';
import { CONTENDERS, ContendersModule } from '../contenders/contenders.module.js';
import { Contest, type Standing } from '../load/contest.js';
import type { CallRate } from '../load/due-calls.js';
import { warmUp } from '../load/warm-up.js';
import type { Scenario, Stage } from './scenario.js';

/** Calls that have not ended this long after the load did are counted as failed. */
const SETTLE_MS = 10_000;

export interface ScenarioRun {
  readonly seconds: number;
  readonly rate: CallRate;
  readonly logger: LoggerService;
  /** Tells who watches what happens. */
  readonly say: (text: string) => void;
}

/** Plays a scenario against an upstream of its own, and says where the contenders stand in the end. Leaves nothing behind. */
export async function runScenario(scenario: Scenario, run: ScenarioRun): Promise<readonly Standing[]> {
  const upstream = await UpstreamProcess.start();
  const cleanUp: (() => void | Promise<void>)[] = [() => upstream.stop()];
  try {
    const proxy = scenario.proxied ? await FaultProxy.start(upstream.url) : undefined;
    if (proxy) cleanUp.unshift(() => proxy.close());

    const module = ContendersModule.forUpstream(upstream, { url: proxy?.url, setup: scenario.setup });
    const app = await NestFactory.createApplicationContext(module, { logger: run.logger });
    app.enableShutdownHooks();
    cleanUp.unshift(() => app.close());
    const contenders = app.get<readonly Contender[]>(CONTENDERS);
    await warmUp(contenders);

    const contest = new Contest(contenders, upstream);
    cleanUp.unshift(() => contest.close());
    const stage: Stage = { contest, upstream, seconds: run.seconds, rate: run.rate, say: run.say };
    if (!scenario.proxied) await scenario.play(stage);
    else if (proxy) await scenario.play({ ...stage, proxy });
    await contest.finish(SETTLE_MS);
    return contest.standings();
  } finally {
    for (const step of cleanUp) await step();
  }
}
