import { describe, expect, it } from 'vitest';
import { DEFAULT_RETRY_POLICY } from '../../policy/retry/retry-policy.js';
import { MEMORY_METHOD, memoryRuntime } from '../../../../../test/unit-support/memory-runtime.js';
import { ENDS, MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { seededRandom } from '../../../../../test/unit-support/seeded-random.mjs';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { ClientCall } from '../calls/client-call.js';
import { CallRegistry } from '../calls/call-registry.js';
import type { ResolvedMethodPolicy } from '../settings/resolve-method-policies.js';

/** Simulates calls to an idempotent method for `seconds`. The server fails the fraction `failing` of all attempts. */
function simulate(callsPerSecond: number, seconds: number, failing: number) {
  const clock = new VirtualClock();
  const chance = seededRandom(7);
  const counts = { calls: 0, attempts: 0, succeeded: 0, failed: 0 };
  const transport = new MemoryTransport(clock, () => {
    const index = counts.attempts++;
    clock.setTimer(() => {
      const attempt = transport.attempts[index];
      const fails = chance() < failing;
      if (!fails) attempt?.message();
      attempt?.end(fails ? ENDS.busy : ENDS.ok);
    }, 5);
  });
  const registry = new CallRegistry(clock);
  const policy = { safeToRepeat: true, safeBecause: 'test', retry: DEFAULT_RETRY_POLICY } as ResolvedMethodPolicy;
  const context = memoryRuntime(transport, { registry }).contextOf(MEMORY_METHOD, policy);
  const given = { metadata: undefined, options: undefined };
  for (let elapsed = 0; elapsed < seconds * 1_000; elapsed += 1_000 / callsPerSecond) {
    counts.calls += 1;
    new ClientCall(
      context,
      { request: 'x', given, createdIn: undefined },
      { next: () => true, error: () => (counts.failed += 1), complete: () => (counts.succeeded += 1) },
    ).begin();
    clock.advance(1_000 / callsPerSecond);
  }
  clock.advance(30_000);
  return { ...counts, perCall: counts.attempts / counts.calls, open: registry.size };
}

describe('amplification while all attempts fail', { timeout: 300_000 }, () => {
  it.each([
    [1, 60, 1.25],
    [10, 60, 1.1],
    [1_000, 10, 1.1],
  ])(
    'limits a client with %i calls/s for %i s to %f attempts per call if all attempts fail',
    (perSecond, seconds, atMost) => {
      const { perCall, failed, calls, open } = simulate(perSecond, seconds, 1);
      expect(perCall).toBeLessThanOrEqual(atMost);
      expect(perCall).toBeGreaterThan(1);
      expect({ failed, open }).toEqual({ failed: calls, open: 0 });
    },
  );
});

describe('success rate while one attempt in ten fails', { timeout: 300_000 }, () => {
  it('completes at least 99 of 100 calls to an idempotent method if one attempt in ten fails', () => {
    const { succeeded, calls } = simulate(100, 60, 0.1);
    expect(succeeded / calls).toBeGreaterThanOrEqual(0.99);
  });
});
