import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { AttemptEnd, AttemptRequest, Attempt, AttemptListener } from '../../call/attempt.js';
import type { MethodDescriptor } from '../../call/method.js';
import { classify } from '../../policy/evidence/classify.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { MemoryTransport } from '../../../../../test/unit-support/memory-transport.js';
import { withAttemptTimeout, withStreamIdleTimeout } from './staged-attempt.js';

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

/** Starts an attempt with a stream idle timeout of 100 ms and records when it is cancelled. */
function makeIdleTimeout() {
  const clock = new BusyClock();
  const cancelledAt: number[] = [];
  // Safe: no other member is used.
  const wire = {
    startRead: () => undefined,
    abandon: () => undefined,
    cancel: () => void cancelledAt.push(clock.now()),
  } as unknown as Attempt;
  const server: { listener?: AttemptListener } = {};
  const start = withStreamIdleTimeout(
    (_request, listener) => {
      server.listener = listener;
      return wire;
    },
    100,
    clock,
  );
  const ignore = { onHeaders: () => undefined, onMessage: () => undefined, onEnd: () => undefined };
  const attempt = start({} as AttemptRequest, ignore);
  return { clock, cancelledAt, attempt, server: server.listener! };
}

describe('stream idle timeout', () => {
  it('cancels a stream when its idle timeout expires, counted from the latest read', () => {
    const { clock, cancelledAt, attempt, server } = makeIdleTimeout();
    attempt.startRead();
    clock.advance(60);
    server.onMessage('first');
    attempt.startRead();
    clock.advance(99);
    expect(cancelledAt).toEqual([]);
    clock.advance(1);
    expect(cancelledAt).toEqual([160]);
  });

  it('stops the idle timer of a stream while no read is pending', () => {
    const { clock, cancelledAt, attempt, server } = makeIdleTimeout();
    attempt.startRead();
    server.onMessage('first');
    clock.advance(1_000);
    expect([cancelledAt, clock.pending]).toEqual([[], 0]);
    attempt.startRead();
    clock.advance(100);
    expect(cancelledAt).toEqual([1_100]);
  });

  // Both timers are due in the same turn. The idle timer was set first, so it fires before the message is read.
  it('keeps a stream if a message arrives in the turn in which the idle timeout expires', () => {
    const { clock, cancelledAt, attempt, server } = makeIdleTimeout();
    const read = { next: true };
    attempt.startRead();
    clock.setTimer(() => {
      server.onMessage('late message');
      if (read.next) attempt.startRead();
      read.next = false;
    }, 100);
    clock.advance(100);
    expect(cancelledAt).toEqual([]);
    clock.advance(99);
    expect(cancelledAt).toEqual([]);
    clock.advance(1);
    expect(cancelledAt).toEqual([200]);
  });

  it('extends the idle timeout of a stream by the time during which the event loop is blocked', () => {
    const { clock, cancelledAt, attempt } = makeIdleTimeout();
    attempt.startRead();
    clock.block(3_000);
    clock.advance(3_099);
    expect(cancelledAt).toEqual([]);
    clock.advance(1);
    expect(cancelledAt).toEqual([3_100]);
  });

  it.each([
    ['is abandoned', ({ attempt }: ReturnType<typeof makeIdleTimeout>) => attempt.abandon()],
    ['ends', ({ server }: ReturnType<typeof makeIdleTimeout>) => server.onEnd(END)],
  ])('does not cancel an attempt that %s in the turn in which its idle timeout expires', (_how, end) => {
    const made = makeIdleTimeout();
    made.attempt.startRead();
    made.clock.setTimer(() => end(made), 100);
    made.clock.advance(1_000);
    expect([made.cancelledAt, made.clock.pending]).toEqual([[], 0]);
  });
});

const END = {
  code: 0,
  details: '',
  metadata: new Metadata(),
  peer: undefined,
  connection: undefined,
  picked: true,
  channelReady: true,
  endedHere: 'no',
  headersReceived: true,
  messagesReceived: 1,
  contentType: 'application/grpc',
} as const;
