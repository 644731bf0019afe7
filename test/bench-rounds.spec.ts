import { describe, expect, it } from 'vitest';
import { takeRounds, type Turn } from '../bench/rounds.mjs';
import { WORKLOADS } from '../bench/workloads.mjs';

const SAMPLE = { cpuUs: 1, perSecond: 1, p50Ms: 1, p99Ms: 1 };

/** Returns the contenders of each measured round, in the order of their turns. */
async function ordersOf(contenders: number, rounds: number): Promise<number[][]> {
  const names = Array.from({ length: contenders }, (_, index) => index);
  const taken: number[] = [];
  const turn = (name: number): Turn => {
    return async () => {
      taken.push(name);
      return SAMPLE;
    };
  };
  const turns = new Map(names.map((name) => [String(name), turn(name)]));
  await takeRounds(turns, [WORKLOADS.unary(1)], { rounds, seconds: 1 });
  // The warm-up round is not measured.
  return Array.from({ length: rounds }, (_, round) => taken.slice((round + 1) * contenders, (round + 2) * contenders));
}

describe('order of the contenders in a benchmark', () => {
  it.each([2, 3, 4, 5, 8, 9])('runs each of %i contenders once in each round', async (contenders) => {
    const all = Array.from({ length: contenders }, (_, index) => index);
    for (const order of await ordersOf(contenders, 2 * contenders)) expect(order.toSorted()).toEqual(all);
  });

  it.each([1, 2, 3, 4, 5, 8, 9])('starts the same number of rounds with each of %i contenders', async (contenders) => {
    const starts = (await ordersOf(contenders, 2 * contenders)).map(([first]) => first);
    expect(starts.toSorted()).toEqual(Array.from({ length: 2 * contenders }, (_, index) => Math.floor(index / 2)));
  });

  it.each([3, 4, 5, 8, 9])('gives each of %i contenders exactly two different predecessors', async (contenders) => {
    const orders = await ordersOf(contenders, 2 * contenders);
    for (let name = 0; name < contenders; name++) {
      const previous = orders.flatMap((order) =>
        order.slice(Math.max(0, order.indexOf(name) - 1), order.indexOf(name)),
      );
      expect([name, new Set(previous).size]).toEqual([name, 2]);
    }
  });
});
