import { setTimeout as sleep } from 'node:timers/promises';
import { isGrpcCallError } from 'nestjs-resilient-grpc';
import { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { ORDERS_PROTO, startOrdersApp } from '../support/orders-app.js';
import { reads, stop } from './support/load.js';
import type { Measured, Run, Scenario } from './support/scenario.js';

/** Duration of each phase. Phases can be shorter in runs that do not check goodput. */
const PHASE_MS = { counts: 1_000, short: 6_000, full: 20_000 };
/** Number of workers of the server in each phase. */
const WORKERS = [10, 5, 10, 20, 10];
const SERVICE_MS = 50;
/** Rate of the calls. It exceeds the largest capacity, so that the limit determines the goodput. */
const PER_SECOND = 450;
const TIMEOUT_MS = 1_000;
/** Fixed limits to compare with: the initial number of workers, and twice that number. */
const FIXED_LIMITS = [10, 20] as const;

/** The capacity of a server halves and doubles under more load than the server can handle. */
export const limitFollowsCapacity: Scenario = {
  name: 'limit-follows-capacity',
  promise:
    "If the capacity of a server halves and doubles under overload, a client with `maxConcurrentCalls: 'adaptive'` reaches at least 90% of the goodput that it would reach with the better of two fixed limits, 10 and 20.",
  bounds: {
    'reads failed for reasons other than the limit or the deadline': { atMost: 0 },
    'lowest adaptive limit after a phase of constant capacity': { atLeast: 4 },
    'goodput relative to the better fixed limit, %': { atLeast: 90, timed: true },
  },
  measure: follow,
};

async function follow(run: Run): Promise<Measured> {
  // The loads run sequentially, because they share a process.
  const fixed: Outcome[] = [];
  for (const limit of FIXED_LIMITS) fixed.push(await overload(run, limit));
  const adaptive = await overload(run, 'adaptive');
  const best = Math.max(...fixed.map(({ perSecond }) => perSecond));
  return {
    'goodput relative to the better fixed limit, %': (adaptive.perSecond / best) * 100,
    'goodput per second': adaptive.perSecond,
    ...Object.fromEntries(
      FIXED_LIMITS.map((limit, i) => [`goodput per second, limit ${limit}`, fixed[i]?.perSecond ?? NaN]),
    ),
    'reads failed for reasons other than the limit or the deadline': [adaptive, ...fixed].reduce(
      (sum, { unexpected }) => sum + unexpected,
      0,
    ),
    'lowest adaptive limit after a phase of constant capacity': Math.min(...adaptive.limits),
    'limits at the ends of the phases': adaptive.limits.join(' '),
  };
}

function phaseMs({ which, length }: Run): number {
  return PHASE_MS[which === 'counts' ? 'counts' : length];
}

interface Outcome {
  readonly perSecond: number;
  readonly unexpected: number;
  /** Limit at the end of each phase. */
  readonly limits: readonly number[];
}

async function overload(run: Run, maxConcurrentCalls: number | 'adaptive'): Promise<Outcome> {
  let workers = 0;
  let busy = 0;
  const queue: (() => void)[] = [];
  const next = (): void => {
    if (busy >= workers) return;
    const start = queue.shift();
    if (start === undefined) return;
    busy++;
    start();
    next();
  };
  // Like a pool of database connections, the server also serves requests whose calls have ended.
  const serve = async () => {
    await new Promise<void>((resolve) => {
      queue.push(resolve);
      next();
    });
    await sleep(SERVICE_MS);
    busy--;
    next();
    return { message: { id: '1' } };
  };
  const server = run.closeAtEnd(await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO, scripts: { Get: serve } }));
  const app = await startOrdersApp({
    url: server.url,
    timeoutMs: TIMEOUT_MS,
    methods: { Get: { idempotent: false, maxConcurrentCalls: { max: maxConcurrentCalls, queue: 20 } } },
  });
  run.onEnd(() => app.close());
  const limits: number[] = [];
  workers = WORKERS[0] ?? 0;
  const calls = reads(run, app, PER_SECOND);
  for (const count of WORKERS) {
    workers = count;
    next();
    await sleep(phaseMs(run), undefined, { signal: run.signal });
    limits.push(app.client.snapshot().limits[0]?.maxConcurrent ?? NaN);
  }
  await stop(calls);
  const unexpected = calls.failed.filter(
    ({ error }) => !isGrpcCallError(error) || (error.reason !== 'concurrency-limit' && error.reason !== 'deadline'),
  );
  const seconds = (WORKERS.length * phaseMs(run)) / 1_000;
  return { perSecond: calls.succeeded.length / seconds, unexpected: unexpected.length, limits };
}
