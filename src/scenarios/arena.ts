import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import type { ContenderSetup } from '../contenders/contender-setup.js';
import type { Contender } from '../contenders/contender.js';
import { CONTENDERS, ContendersModule, type CalledUpstream } from '../contenders/contenders.module.js';
import { warmUp } from '../load/warm-up.js';
import type { ScenarioRun } from './scenario.js';

/** Options of an arena. */
export interface ArenaTerms<U extends CalledUpstream> {
  readonly setup: ContenderSetup;
  /** Starts the upstream. */
  readonly start: () => Promise<U>;
}

/** An upstream and its contenders, connected and warmed up. */
export interface Arena<U extends CalledUpstream> {
  readonly upstream: U;
  readonly app: INestApplicationContext;
  /** Adds a cleanup step, which runs before the arena is closed. */
  readonly onEnd: (step: () => void | Promise<void>) => void;
}

/** Builds an arena, runs `work` in it, and closes it. */
export async function inArena<U extends CalledUpstream, T>(
  { setup, start }: ArenaTerms<U>,
  { logger }: Pick<ScenarioRun, 'logger'>,
  work: (arena: Arena<U>) => Promise<T>,
): Promise<T> {
  const upstream = await start();
  const cleanUp: (() => void | Promise<void>)[] = [() => upstream.stop()];
  try {
    const module = ContendersModule.forUpstream(upstream, setup);
    const app = await NestFactory.createApplicationContext(module, { logger });
    app.enableShutdownHooks();
    cleanUp.unshift(() => app.close());
    await warmUp(app.get<readonly Contender[]>(CONTENDERS));

    return await work({ upstream, app, onEnd: (step) => void cleanUp.unshift(step) });
  } finally {
    for (const step of cleanUp) await step();
  }
}
