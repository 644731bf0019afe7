import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import { BusyClock } from '../../../spec-support/busy-clock.js';
import { withStreamIdleTimeout } from './stream-idle-timeout.js';

/** Starts an attempt with a stream idle timeout of 100 ms and records when it is cancelled. */
function make() {
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
    const { clock, cancelledAt, attempt, server } = make();
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
    const { clock, cancelledAt, attempt, server } = make();
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
    const { clock, cancelledAt, attempt, server } = make();
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
    const { clock, cancelledAt, attempt } = make();
    attempt.startRead();
    clock.block(3_000);
    clock.advance(3_099);
    expect(cancelledAt).toEqual([]);
    clock.advance(1);
    expect(cancelledAt).toEqual([3_100]);
  });

  it.each([
    ['is abandoned', ({ attempt }: ReturnType<typeof make>) => attempt.abandon()],
    ['ends', ({ server }: ReturnType<typeof make>) => server.onEnd(END)],
  ])('does not cancel an attempt that %s in the turn in which its idle timeout expires', (_how, end) => {
    const made = make();
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
