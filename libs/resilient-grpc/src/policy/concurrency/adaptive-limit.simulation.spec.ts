import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import type { Random } from '../../time/random.js';
import { ADAPTIVE_BOUNDS } from './adaptive-limit.js';
import { PermitQueue } from './permit-queue.js';

/** A server with a pool of workers and a FIFO queue. It detects neither cancelled nor expired calls. */
interface Server {
  readonly workers: (second: number) => number;
  readonly serviceMs: (random: Random, second: number) => number;
  /** Number of calls per second, summed over all clients. */
  readonly callsPerSecond: number;
  readonly seconds: number;
  readonly timeoutMs: number;
  readonly clients?: number;
}

interface Outcome {
  /** Calls answered within their timeout, per second. */
  readonly goodput: number;
  /** Sum of the limits of all clients, by second. */
  readonly limits: readonly number[];
}

function simulate(server: Server, maxConcurrent: number | 'adaptive'): Outcome {
  const clock = new VirtualClock();
  const random = seededRandom(1);
  const { seconds, timeoutMs, callsPerSecond, clients = 1 } = server;
  const second = (): number => Math.floor(clock.now() / 1_000);
  const queues = Array.from({ length: clients }, () => new PermitQueue({ maxConcurrent, maxQueued: 20 }));
  const arrived: (() => void)[] = [];
  let busy = 0;
  let good = 0;

  const work = (): void => {
    if (busy >= server.workers(second())) return;
    const done = arrived.shift();
    if (done === undefined) return;
    busy++;
    clock.setTimer(
      () => {
        busy--;
        done();
        work();
      },
      server.serviceMs(random, second()),
    );
    work();
  };

  const call = (queue: PermitQueue): void => {
    const deadline = clock.now() + timeoutMs;
    const send = (): void => {
      const startedAt = clock.now();
      if (startedAt >= deadline) {
        queue.release('not-sent', 0);
        return;
      }
      let isOver = false;
      const end = (outcome: 'succeeded' | 'timed-out'): void => {
        if (isOver) return;
        isOver = true;
        timer.clear();
        if (outcome === 'succeeded') good++;
        queue.release(outcome, clock.now() - startedAt);
      };
      const timer = clock.setTimer(() => end('timed-out'), deadline - startedAt);
      arrived.push(() => end('succeeded'));
      work();
    };
    const waiter = { permitted: send };
    const result = queue.acquire(waiter);
    if (result === 'permitted') send();
    if (result === 'queued') clock.setTimer(() => queue.remove(waiter), timeoutMs);
  };

  const start = (): void => {
    call(queues[Math.floor(random() * clients)]!);
    clock.setTimer(start, (-Math.log(1 - random()) * 1_000) / callsPerSecond);
  };
  start();
  const limits: number[] = [];
  for (let i = 0; i < seconds; i++) {
    clock.advance(1_000);
    limits.push(queues.reduce((sum, queue) => sum + (queue.adaptive?.settled ?? queue.maxConcurrent), 0));
  }
  return { goodput: good / seconds, limits };
}

function makeExponential(meanMs: number): (random: Random) => number {
  return (random) => -Math.log(1 - random()) * meanMs;
}

/** True if `second` is from 20 to 39, from 60 to 79, and so on. */
function isChanged(second: number): boolean {
  return Math.floor(second / 20) % 2 === 1;
}

const POOL_OF_10: Server = {
  workers: () => 10,
  serviceMs: makeExponential(50),
  callsPerSecond: 600,
  seconds: 80,
  timeoutMs: 1_000,
};

const SERVERS: readonly (readonly [name: string, server: Server])[] = [
  ['a pool of 10 workers', { ...POOL_OF_10, serviceMs: () => 50 }],
  ['a pool of 10 workers with exponential service times', POOL_OF_10],
  [
    'a pool of 10 workers in which a tenth of the calls take 16 times as long',
    { ...POOL_OF_10, serviceMs: (random) => (random() < 0.9 ? 20 : 320) },
  ],
  ['a pool of 3 workers', { ...POOL_OF_10, workers: () => 3, serviceMs: makeExponential(20), callsPerSecond: 400 }],
  ['a pool that halves and doubles', { ...POOL_OF_10, workers: (second) => (isChanged(second) ? 5 : 10) }],
  ['a pool that doubles and halves', { ...POOL_OF_10, workers: (second) => (isChanged(second) ? 20 : 10) }],
  [
    'service times that double and halve',
    { ...POOL_OF_10, serviceMs: (random, second) => makeExponential(isChanged(second) ? 100 : 50)(random) },
  ],
  ['a timeout of six service times', { ...POOL_OF_10, workers: (s) => (isChanged(s) ? 5 : 10), timeoutMs: 300 }],
  [
    '8 clients and a pool of 40 workers',
    { ...POOL_OF_10, workers: () => 40, callsPerSecond: 2_400, clients: 8, seconds: 40 },
  ],
  ['less load than capacity', { ...POOL_OF_10, callsPerSecond: 120 }],
];

describe('AdaptiveLimit simulation', { timeout: 300_000 }, () => {
  it.each(SERVERS)('reaches 90% of the goodput of the best fixed limit if the limit is adaptive (%s)', (_, server) => {
    const best = Math.max(...[4, 6, 8, 10, 15, 20, 40].map((limit) => simulate(server, limit).goodput));
    expect(simulate(server, 'adaptive').goodput / best).toBeGreaterThan(0.9);
  });

  it('keeps an adaptive limit from drifting during 15 minutes of overload', () => {
    const { limits } = simulate({ ...POOL_OF_10, callsPerSecond: 300, seconds: 900 }, 'adaptive');
    const settled = limits.slice(60);
    expect(Math.min(...settled)).toBeGreaterThan(ADAPTIVE_BOUNDS.floor);
    expect(settled.reduce((a, b) => a + b) / settled.length).toBeLessThan(20);
    expect(Math.max(...settled)).toBeLessThan(35);
  });
});
