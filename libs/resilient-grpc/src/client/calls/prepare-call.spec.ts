import { expect, it } from 'vitest';
import type { CapturedCall } from '../../call/inbound-call.js';
import { memoryRuntime, MEMORY_METHOD } from '../../../../../test/unit-support/memory-runtime.js';
import { MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { VirtualClock } from '../../../../../test/unit-support/virtual-clock.js';
import { runInbound } from '../caller/caller-context.js';
import type { ResolvedMethodPolicy } from '../settings/resolve-method-policies.js';
import { ClientCall } from './client-call.js';

const METHOD = { ...MEMORY_METHOD, declaredIdempotent: false };

/** Returns the milliseconds until the deadline that a call with these timeouts sends. */
function msUntilSentDeadline(timeouts: { inbound?: number; method?: number; call?: number }): number {
  const clock = new VirtualClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const propagation = { deadline: true, cancellation: true, metadata: [] };
  const runtime = memoryRuntime(transport, {}, { propagation });
  const policy = { safeToRepeat: false, safeBecause: 'test', timeoutMs: timeouts.method } as ResolvedMethodPolicy;
  const inbound: CapturedCall = {
    kind: 'grpc',
    signal: new AbortController().signal,
    retry: false,
    streaming: false,
    startedAt: 0,
    get: () => undefined,
    ...(timeouts.inbound === undefined ? {} : { deadline: new Date(clock.epoch() + timeouts.inbound) }),
  };
  const call = new ClientCall(
    runtime.contextOf(METHOD, policy),
    { request: 'x', given: { metadata: undefined, options: { timeoutMs: timeouts.call } }, createdIn: undefined },
    { next: () => true, error: () => undefined, complete: () => undefined },
  );
  runInbound(inbound, () => {
    call.begin();
  });
  const deadline = transport.attempts[0]?.request.deadline ?? NaN;
  call.unsubscribe();
  return deadline - clock.epoch();
}

it.each([
  ['inbound call', { inbound: 100, method: 200, call: 300 }],
  ['inbound call if no other deadline is set', { inbound: 100 }],
  ['method', { inbound: 300, method: 100 }],
  ['call', { inbound: 300, call: 100 }],
])('sends the earliest deadline, which is that of the %s', (_, timeouts) => {
  expect(msUntilSentDeadline(timeouts)).toBe(100);
});

it('sends no deadline if the call, its method, and the inbound call set none', () => {
  expect(msUntilSentDeadline({})).toBe(Infinity);
});
