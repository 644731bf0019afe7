import type { INestApplicationContext } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FaultProxy } from 'nestjs-resilient-grpc/testing';
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
  /** True if the contenders reach the upstream through a proxy that injects faults. */
  readonly proxied?: boolean | undefined;
}

/** An upstream and its contenders, connected and warmed up. */
export interface Arena<U extends CalledUpstream> {
  readonly upstream: U;
  /** Proxy between the contenders and the upstream; `undefined` if the arena has no proxy. */
  readonly proxy: FaultProxy | undefined;
  readonly app: INestApplicationContext;
  /** Adds a cleanup step, which runs before the arena is closed. */
  readonly onEnd: (step: () => void | Promise<void>) => void;
}

/** Builds an arena, runs `work` in it, and closes it. */
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
