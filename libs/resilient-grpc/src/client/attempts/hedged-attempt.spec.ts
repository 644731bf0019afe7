import { expect, it } from 'vitest';
import type { StartAttempt } from '../../call/attempt.js';
import { CircuitOpenError } from '../../errors/circuit-open-error.js';
import { StatusCode } from '../../status/status-code.js';
import { MEMORY_METHOD, memoryRuntime } from '../../testing/spec-support/memory-runtime.js';
import { ENDS, MemoryTransport } from '../../testing/spec-support/memory-transport.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { ClientCall } from '../call/client-call.js';
import type { ResolvedMethodPolicy } from '../settings/resolved-settings.js';

const HEDGING = { maxAttempts: 3, hedgingDelayMs: 10, nonFatalStatusCodes: new Set([StatusCode.UNAVAILABLE]) };

it.each([
  ['circuit-open', new CircuitOpenError('/memory.Echo/Get', 5)],
  ['local', new Error('no token')],
])('sets notRetriedBecause to %s if another attempt cannot be started and the running one fails', (because, thrown) => {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const context = memoryRuntime(transport).contextOf(MEMORY_METHOD, {
    safeToRepeat: true,
    safeBecause: 'test',
    hedging: HEDGING,
  } as Partial<ResolvedMethodPolicy> as ResolvedMethodPolicy);
  const start: StartAttempt = (request, listener) => {
    if (request.number > 1) throw thrown;
    return context.start(request, listener);
  };
  const input = { request: 'x', given: { metadata: undefined, options: undefined }, createdIn: undefined };
  const errors: unknown[] = [];
  const sink = { next: () => true, error: (error: unknown) => errors.push(error), complete: () => undefined };
  new ClientCall({ ...context, start }, input, sink).begin();
  clock.advance(100);
  expect(transport.attempts).toHaveLength(1);
  transport.attempts[0]!.end(ENDS.busy);
  expect(errors).toMatchObject([{ code: StatusCode.UNAVAILABLE, notRetriedBecause: because }]);
});
