import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
import type { ContenderSetup } from '../contenders/contender-setup.js';
import type { Contender } from '../contenders/contender.js';
import { CONTENDERS, ContendersModule, type CalledUpstream } from '../contenders/contenders.module.js';
import { warmUp } from '../load/warm-up.js';
import type { ScenarioRun } from './scenario.js';

/** What an arena is built of. */
export interface ArenaTerms<U extends CalledUpstream> {
  readonly setup: ContenderSetup;
  /** Starts the upstream. */
  readonly start: () => Promise<U>;
  /** The contenders reach the upstream through a proxy, which makes the faults. */
  readonly proxied?: boolean | undefined;
}

/** An upstream of its own and the contenders in front of it, connected and warm. */
export interface Arena<U extends CalledUpstream> {
  readonly upstream: U;
  /** Where the arena has one. */
  readonly proxy: FaultProxy | undefined;
  readonly app: INestApplicationContext;
  /** What is to be done at the end, before the arena is taken down. */
  readonly onEnd: (step: () => void | Promise<void>) => void;
}

/** Builds an arena for `work`, and leaves nothing of it behind. */
export async function inArena<U extends CalledUpstream, T>(
  { setup, start, proxied = false }: ArenaTerms<U>,
  { logger }: Pick<ScenarioRun, 'logger'>,
  work: (arena: Arena<U>) => Promise<T>,
): Promise<T> {
  const upstream = await start();
  const cleanUp: (() => void | Promise<void>)[] = [() => upstream.stop()];
  try {
    const proxy = proxied ? await FaultProxy.start(upstream.url) : undefined;
    if (proxy) cleanUp.unshift(() => proxy.close());

    const module = ContendersModule.forUpstream(upstream, { url: proxy?.url, setup });
    const app = await NestFactory.createApplicationContext(module, { logger });
    app.enableShutdownHooks();
    cleanUp.unshift(() => app.close());
    await warmUp(app.get<readonly Contender[]>(CONTENDERS));

    return await work({ upstream, proxy, app, onEnd: (step) => void cleanUp.unshift(step) });
  } finally {
    for (const step of cleanUp) await step();
  }
}
