import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { AttemptEnd, AttemptRequest } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { classify } from '../../policy/evidence/classify.js';
import { BusyClock } from '../../testing/busy-clock.js';
import { ENDS, MemoryTransport } from '../../testing/memory-transport.js';
import { withAttemptTimeout } from './attempt-timeout.js';

/** What a server answers whose time for a call is over. */
const SERVER_TIMEOUT = { code: 4, details: 'Deadline exceeded', contentType: 'application/grpc' };

/** An attempt with a timeout of 1 s, and how it ended. */
function make(change: Partial<Omit<AttemptRequest, 'deadline'>> & { deadlineMs?: number } = {}) {
  const clock = new BusyClock();
  const transport = new MemoryTransport(clock, () => undefined);
  const { deadlineMs = Infinity, ...rest } = change;
  const request: AttemptRequest = {
    // True: nothing else of it is read here.
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
  const start = withAttemptTimeout((...given) => transport.start(...given), 1_000, clock);
  const attempt = start(request, { ...ignore, onEnd: (end) => ends.push(end) });
  const [wire] = transport.attempts;
  const sentTimeout = (): unknown[] => wire!.request.metadata.get('grpc-timeout');
  return { clock, request, attempt, wire: wire!, sentTimeout, kinds: () => ends.map((end) => classify(end).kind) };
}

describe('an attempt with a timeout', () => {
  it.each([Infinity, 1_001])('sends the timeout as grpc-timeout if its call has %d ms left', (deadlineMs) => {
    const { request, wire, sentTimeout } = make({ deadlineMs });
    expect(sentTimeout()).toEqual(['1000m']);
    // grpc-js would replace it by the time until the deadline.
    expect(wire.request.deadline).toBe(Infinity);
    expect(request.metadata.get('grpc-timeout')).toEqual([]);
  });

  it.each<[string, Parameters<typeof make>[0]]>([
    ['its call has less time left', { deadlineMs: 1_000 }],
    ['its response is a stream', { method: { requestStream: false, responseStream: true } as MethodDescriptor }],
    ['its request is a stream', { method: { requestStream: true, responseStream: false } as MethodDescriptor }],
    ['interceptors of grpc-js may read its deadline', { interceptors: [] }],
  ])('leaves the deadline to grpc-js if %s', (_when, change) => {
    const { request, wire, sentTimeout } = make(change);
    expect(sentTimeout()).toEqual([]);
    expect(wire.request.deadline).toBe(request.deadline);
  });

  it('ends with its timeout', () => {
    const { clock, kinds } = make({ deadlineMs: 60_000 });
    clock.advance(999);
    expect(kinds()).toEqual([]);
    clock.advance(1);
    expect(kinds()).toEqual(['attempt-timeout']);
    expect(clock.pending).toBe(0);
  });

  it.each([900, 999])('ends with its timeout if the server reports it after %d ms', (ms) => {
    const { clock, wire, kinds } = make({ deadlineMs: 60_000 });
    clock.advance(ms);
    wire.end(SERVER_TIMEOUT);
    expect(kinds()).toEqual(['attempt-timeout']);
    expect(clock.pending).toBe(0);
  });

  it('ends with the status of the server if this is DEADLINE_EXCEEDED early in the attempt', () => {
    const { clock, wire, kinds } = make();
    clock.advance(899);
    wire.end(SERVER_TIMEOUT);
    expect(kinds()).toEqual(['server']);
  });

  it('ends with the status of the server if this is another one late in the attempt', () => {
    const { clock, wire, kinds } = make();
    clock.advance(999);
    wire.end(ENDS.busy);
    expect(kinds()).toEqual(['server']);
  });

  it('ends at the deadline of its call if the time in which this process did not run moves its timeout after that', () => {
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

  it('clears its timers when it is abandoned', () => {
    const { clock, attempt } = make({ deadlineMs: 60_000 });
    clock.advance(1);
    attempt.abandon();
    clock.advance(1);
    expect(clock.pending).toBe(0);
  });
});
