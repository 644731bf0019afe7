import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { classify } from '../../policy/evidence/classify.js';
import { BusyClock } from '../../../spec-support/busy-clock.js';
import { MemoryTransport } from '../../../spec-support/memory-transport.js';
import { withAttemptTimeout } from './attempt-timeout.js';

/** Starts an attempt with a timeout of 1 s and records how it ends. */
function make(change: Partial<Omit<AttemptRequest, 'deadline'>> & { deadlineMs?: number } = {}) {
  const clock = new BusyClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const { deadlineMs = Infinity, ...rest } = change;
  const request: AttemptRequest = {
    // Safe: no other field is read.
    method: { requestStream: false, responseStream: false } as MethodDescriptor,
    deadline: clock.epoch() + deadlineMs,
    metadata: new Metadata(),
    options: undefined,
    interceptors: undefined,
    number: 1,
    mayRepeat: false,
    maxReceiveBytes: Infinity,
    ...rest,
  };
  const ends: AttemptEnd[] = [];
  const ignore = { onHeaders: () => undefined, onMessage: () => undefined };
  const start = withAttemptTimeout((...args) => transport.start(...args), 1_000, clock);
  const attempt = start(request, { ...ignore, onEnd: (end) => ends.push(end) });
  const [wire] = transport.attempts;
  const sentTimeout = (): unknown[] => wire!.request.metadata.get('grpc-timeout');
  return {
    clock,
    request,
    attempt,
    wire: wire!,
    sentTimeout,
    ends,
    kinds: () => ends.map((end) => classify(end).kind),
  };
}

describe('attempt timeout', () => {
  it.each([Infinity, 1_001])('sends the attempt timeout as grpc-timeout if the call has %d ms left', (deadlineMs) => {
    const { request, wire, sentTimeout } = make({ deadlineMs });
    expect(sentTimeout()).toEqual(['1000m']);
    expect(wire.request.sentTimeout).toMatchObject({ ms: 1_000 });
    // If the request had a deadline, grpc-js would replace grpc-timeout with the time until that deadline.
    expect(wire.request.deadline).toBe(Infinity);
    expect(request.metadata.get('grpc-timeout')).toEqual([]);
  });

  it.each<[string, Parameters<typeof make>[0]]>([
    ['the attempt timeout does not expire before the deadline of the call', { deadlineMs: 1_000 }],
    ['the response is a stream', { method: { requestStream: false, responseStream: true } as MethodDescriptor }],
    ['the request is a stream', { method: { requestStream: true, responseStream: false } as MethodDescriptor }],
    ['grpc-js interceptors may read the deadline', { interceptors: [] }],
  ])('passes the deadline of an attempt to grpc-js if %s', (_when, change) => {
    const { request, wire, sentTimeout } = make(change);
    expect(sentTimeout()).toEqual([]);
    expect(wire.request.sentTimeout).toBeUndefined();
    expect(wire.request.deadline).toBe(request.deadline);
  });

  it('fails an attempt with attempt-timeout when its timeout expires', () => {
    const { clock, kinds } = make({ deadlineMs: 60_000 });
    clock.advance(999);
    expect(kinds()).toEqual([]);
    clock.advance(1);
    expect(kinds()).toEqual(['attempt-timeout']);
    expect(clock.pending).toBe(0);
  });

  it('fails an attempt at the deadline of its call if a blocked event loop delays the attempt timeout beyond the deadline', () => {
    const { clock, wire, kinds } = make({ deadlineMs: 1_400 });
    clock.advance(100);
    clock.block(400);
    clock.advance(1_299);
    expect(kinds()).toEqual([]);
    clock.advance(1);
    expect(kinds()).toEqual(['deadline']);
    expect(wire.cancelled).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it('clears the timers of an attempt when the attempt is abandoned', () => {
    const { clock, attempt } = make({ deadlineMs: 60_000 });
    clock.advance(1);
    attempt.abandon();
    clock.advance(1);
    expect(clock.pending).toBe(0);
  });
});
