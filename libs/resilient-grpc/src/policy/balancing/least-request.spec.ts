import { describe, expect, it } from 'vitest';
import { EndpointLoad } from './endpoint-load.js';
import { chooseLeastLoaded, parseChoiceCount } from './least-request.js';

const loadOf = (inFlight: number, latencyMs?: number) => ({ inFlight, latencyMs: () => latencyMs });

/** Creates a random source that returns the given values in turn. */
function makeCyclicRandom(...values: number[]): () => number {
  let next = 0;
  return () => values[next++ % values.length]!;
}

/** Creates a deterministic random source. */
function makeSeededRandom(): () => number {
  let state = 1;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

describe('chooseLeastLoaded', () => {
  it.each([
    ['the endpoint with fewer running attempts', [loadOf(3, 5), loadOf(1, 5)], 1],
    ['the endpoint with the lower latency', [loadOf(0, 5), loadOf(0, 50)], 0],
    [
      'the endpoint with the lower product of latency and attempts, including the new attempt',
      [loadOf(0, 50), loadOf(4, 5)],
      1,
    ],
    [
      'the endpoint with fewer running attempts if the latency of one endpoint is unknown',
      [loadOf(2, 1), loadOf(1)],
      1,
    ],
    ['the endpoint drawn first if both endpoints are equal', [loadOf(0), loadOf(0)], 0],
  ])('prefers %s', (_, loads, expected) => {
    expect(chooseLeastLoaded(loads, 2, () => 0, 0)).toBe(expected);
  });

  it('chooses the only endpoint if there is no other', () => {
    expect(chooseLeastLoaded([loadOf(9, 900)], 2, () => 0.99, 0)).toBe(0);
  });

  it('compares two different endpoints if choiceCount is 2', () => {
    const random = makeSeededRandom();
    // Endpoint 0 is idle, so every comparison of the two endpoints selects it.
    for (let calls = 0; calls < 1_000; calls++) {
      expect(chooseLeastLoaded([loadOf(0, 1), loadOf(1, 1)], 2, random, 0)).toBe(0);
    }
  });

  it('compares the load of `choiceCount` endpoints', () => {
    const loads = [loadOf(3, 1), loadOf(2, 1), loadOf(1, 1), loadOf(0, 1)];
    // Draws the endpoints 0, 1, 2, 3 in turn.
    expect([2, 3, 4].map((count) => chooseLeastLoaded(loads, count, makeCyclicRandom(0), 0))).toEqual([1, 2, 3]);
  });

  it('sends more than 18% of the calls to each of five equal endpoints', () => {
    const random = makeSeededRandom();
    const counts = [0, 0, 0, 0, 0];
    for (let calls = 0; calls < 10_000; calls++) {
      const index = chooseLeastLoaded(
        counts.map(() => loadOf(0, 5)),
        2,
        random,
        0,
      );
      counts[index]! += 1;
    }
    for (const count of counts) expect(count).toBeGreaterThan(1_800);
  });

  it('sends less than 2% of the calls to a server that is 25 times as slow as its two peers', () => {
    const random = makeSeededRandom();
    const loads = [new EndpointLoad(), new EndpointLoad(), new EndpointLoad()];
    const latencies = [5, 5, 125];
    const running: { readonly index: number; readonly endsAt: number }[] = [];
    const counts = [0, 0, 0];
    for (let now = 0; now < 60_000; now += 2) {
      for (const call of running.filter(({ endsAt }) => endsAt <= now)) {
        running.splice(running.indexOf(call), 1);
        loads[call.index]!.ended(call.endsAt);
        loads[call.index]!.measured(latencies[call.index]!, 'succeeded', call.endsAt);
      }
      const index = chooseLeastLoaded(loads, 2, random, now);
      counts[index]! += 1;
      loads[index]!.started(now);
      running.push({ index, endsAt: now + latencies[index]! });
    }
    const total = counts.reduce((sum, count) => sum + count, 0);
    expect(counts[2]! / total).toBeLessThan(0.02);
    expect(counts[2]).toBeGreaterThan(0);
    expect(Math.abs(counts[0]! - counts[1]!) / total).toBeLessThan(0.1);
  });

  it('sends fewer than one in 200 calls to a server that fails fast, if another server succeeds and no calls overlap', () => {
    const random = makeSeededRandom();
    const loads = [new EndpointLoad(), new EndpointLoad()];
    let failed = 0;
    for (let now = 0; now < 60_000; now += 10) {
      const index = chooseLeastLoaded(loads, 2, random, now);
      loads[index]!.started(now);
      loads[index]!.ended(now + 5);
      loads[index]!.measured(index === 0 ? 1 : 5, index === 0 ? 'failed' : 'succeeded', now + 5);
      if (index === 0 && now > 10_000) failed += 1;
    }
    expect(failed).toBeLessThan(60_000 / 2_500);
  });
});

describe('parseChoiceCount', () => {
  it.each([
    [{}, 2],
    [{ choiceCount: 2 }, 2],
    [{ choiceCount: 7 }, 7],
    [{ choiceCount: 100 }, 10],
  ])('reads %j as a choiceCount of %i', (config, expected) => {
    expect(parseChoiceCount(config)).toBe(expected);
  });

  it.each([{ choiceCount: 1 }, { choiceCount: 2.5 }, { choiceCount: '3' }, { choiceCount: null }])(
    'rejects the least-request config %j',
    (config) => {
      expect(() => parseChoiceCount(config)).toThrow(/^choiceCount: expected an integer of 2 or more, got /);
    },
  );

  it('rejects a least-request config that is not an object', () => {
    expect(() => parseChoiceCount(null)).toThrow('expected an object, got null; write { choiceCount: 2 }');
  });
});
