import { describe, expect, it } from 'vitest';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { releaseDemand, ReleasePace, DEFAULT_RELEASE_POLICY } from './release-pace.js';

const BOUND_MS = 15_000;

interface Scenario {
  readonly clients: number;
  readonly callsPerSecond: number;
  /** Capacity of the server, as a multiple of the usual load. */
  readonly capacity: number;
  readonly outageMs: number;
  /** Time until the deadline of a call. */
  readonly timeoutMs: number;
  readonly serviceMs: number;
  readonly durationMs: number;
  /** Time after the start of the server during which it needs `coldLatencyMs` instead of `serviceMs` for a response. */
  readonly coldMs?: number;
  readonly coldLatencyMs?: number;
}

interface Call {
  readonly client: number;
  readonly at: number;
  readonly sentAt: number;
  readonly released: boolean;
}

/** Simulates, in steps of 1 ms, one server with a queue. Clients start calls at random times drawn from a fixed seed. */
function simulate(scenario: Scenario) {
  const { clients, callsPerSecond, outageMs, timeoutMs, serviceMs } = scenario;
  const random = seededRandom(42);
  const servedPerMs = (clients * callsPerSecond * scenario.capacity) / 1_000;
  const waiting: number[][] = Array.from({ length: clients }, () => []);
  for (const queue of waiting) {
    for (let at = -Math.min(outageMs, timeoutMs); at < 0; at++) if (random() < callsPerSecond / 1_000) queue.push(at);
  }
  const held = waiting.flat().length;
  // Clients do not become READY in the same millisecond, because their connection attempts have jitter.
  const readyAt = waiting.map(() => Math.floor(random() * 250));
  const heldCalls = (own: readonly number[]) =>
    own.map((at) => ({ deadline: at + timeoutMs, waitingSince: Math.min(at, 0), path: undefined }));
  const demandOf = (own: readonly number[], now: number, readySince: number) => {
    const times = {
      now,
      epoch: now,
      readyAt: readySince,
      boundMs: BOUND_MS,
      usualLatency: () => serviceMs,
      delayMs: 0,
      isSlow: false,
    };
    return releaseDemand(heldCalls(own), times, DEFAULT_RELEASE_POLICY);
  };
  const paces = readyAt.map((now, client) => {
    return new ReleasePace({ now, usualCallsPerSecond: callsPerSecond, demand: demandOf(waiting[client]!, now, now) });
  });
  const queue: Call[] = [];
  const result = { held, released: 0, abandoned: 0, heldFailed: 0, lastSentAt: 0, newCalls: 0, newFailed: 0, peak: 0 };
  const arrivals: number[] = [];
  let head = 0;
  let capacity = 0;
  for (let now = 0; now < scenario.durationMs; now++) {
    let arrived = 0;
    for (let client = 0; client < clients; client++) {
      const own = waiting[client]!;
      const isReady = now >= readyAt[client]!;
      if (random() < callsPerSecond / 1_000) {
        result.newCalls++;
        if (isReady) {
          queue.push({ client, at: now, sentAt: now, released: false });
          arrived++;
        } else own.push(now);
      }
      if (!isReady || own.length === 0) continue;
      while (own.length > 0 && now - own[0]! >= timeoutMs) {
        own.shift();
        result.abandoned++;
      }
      if ((now - readyAt[client]!) % DEFAULT_RELEASE_POLICY.stepMs === 0) {
        paces[client]!.require(demandOf(own, now, readyAt[client]!));
      }
      for (let take = paces[client]!.take(now, own.length); take > 0; take--) {
        queue.push({ client, at: own.shift()!, sentAt: now, released: true });
        result.released++;
        result.lastSentAt = now;
        arrived++;
      }
    }
    arrivals.push(arrived);
    capacity += servedPerMs;
    if (head === queue.length) capacity = Math.min(capacity, Math.max(servedPerMs, 1));
    for (; capacity >= 1 && head < queue.length; capacity--, head++) {
      const call = queue[head]!;
      const isCold = now < (scenario.coldMs ?? 0);
      const latency = now - call.sentAt + (isCold ? (scenario.coldLatencyMs ?? 0) : serviceMs);
      const isLate = now - call.at > timeoutMs;
      if (call.released) {
        if (isLate) paces[call.client]!.failed(now);
        else paces[call.client]!.answered(latency, serviceMs, now);
      }
      if (isLate && call.released) result.heldFailed++;
      else if (isLate) result.newFailed++;
    }
  }
  const usualCallsPerMs = (clients * callsPerSecond) / 1_000;
  for (let i = 250; i + 100 <= arrivals.length; i += 10) {
    const callsPerMs = arrivals.slice(i, i + 100).reduce((sum, n) => sum + n, 0) / 100;
    result.peak = Math.max(result.peak, callsPerMs / usualCallsPerMs);
  }
  return result;
}

describe('release simulation', { timeout: 300_000 }, () => {
  const alone = { clients: 1, callsPerSecond: 200, capacity: 50, outageMs: 3_000, timeoutMs: 10_000, serviceMs: 5 };

  it.each([
    ['is fast from the start', { coldMs: 0, coldLatencyMs: 0 }],
    ['is slow in its first 300 ms', { coldMs: 300, coldLatencyMs: 150 }],
  ])('releases the 600 held calls of a client with 200 calls/s within 3 s to a server that %s', (_, cold) => {
    const result = simulate({ ...alone, ...cold, durationMs: 6_000 });
    expect(result.held).toBeGreaterThan(550);
    expect(result.released).toBeGreaterThanOrEqual(result.held);
    expect(result.lastSentAt).toBeLessThan(3_000);
    expect(result).toMatchObject({ abandoned: 0, newFailed: 0, heldFailed: 0 });
  });

  it.each([3_000, 8_000, 60_000])(
    'limits the load after an outage of %i ms to 1.6 times the usual load, and fails at most 0.1% of new calls to a server with 20% spare capacity',
    (outageMs) => {
      const result = simulate({
        clients: 50,
        callsPerSecond: 50,
        capacity: 1.2,
        outageMs,
        timeoutMs: 2_000,
        serviceMs: 5,
        durationMs: 8_000,
      });
      expect(result.peak).toBeLessThanOrEqual(1.6);
      expect(result.newFailed / result.newCalls).toBeLessThanOrEqual(0.001);
    },
  );

  it.each([
    ['20% spare capacity', 15_000, 1.2],
    ['10% spare capacity', 15_000, 1.1],
    ['capacity for half of the usual load', 15_000, 0.5],
    ['capacity for twice the usual load', 6_000, 2],
  ])(
    'releases the 2,500 held calls of a client with 500 calls/s in time (server with %s, time limit of %i ms)',
    (_, withinMs, capacity) => {
      const scenario = { clients: 1, callsPerSecond: 500, outageMs: 5_000, timeoutMs: 60_000, serviceMs: 5 };
      const result = simulate({ ...scenario, capacity, durationMs: 16_000 });
      expect(result.released).toBeGreaterThanOrEqual(result.held);
      expect(result.lastSentAt).toBeLessThanOrEqual(withinMs);
      expect(result).toMatchObject({ abandoned: 0 });
    },
  );
});
