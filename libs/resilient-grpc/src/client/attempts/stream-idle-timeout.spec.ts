import { Metadata } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import type { Attempt, AttemptListener, AttemptRequest } from '../../call/attempt.js';
import { BusyClock } from '../../testing/busy-clock.js';
import { withStreamIdleTimeout } from './stream-idle-timeout.js';

/** An attempt of a stream that may be silent for 100 ms, and when it was cancelled. */
function make() {
  const clock = new BusyClock();
  const cancelledAt: number[] = [];
  // True: nothing else of it is asked for here.
  const wire = {
    startRead: () => undefined,
    abandon: () => undefined,
    cancel: () => void cancelledAt.push(clock.now()),
  } as unknown as Attempt;
  const server: { tell?: AttemptListener } = {};
  const start = withStreamIdleTimeout(
    (_request, listener) => {
      server.tell = listener;
      return wire;
    },
    100,
    clock,
  );
  const ignore = { onHeaders: () => undefined, onMessage: () => undefined, onEnd: () => undefined };
  const attempt = start({} as AttemptRequest, ignore);
  return { clock, cancelledAt, attempt, server: server.tell! };
}

describe('the silence of a stream', () => {
  it('ends it when its time is over, counted from the latest message that was asked for', () => {
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

  it('does not count while nobody asks for a message', () => {
    const { clock, cancelledAt, attempt, server } = make();
    attempt.startRead();
    server.onMessage('first');
    clock.advance(1_000);
    expect([cancelledAt, clock.pending]).toEqual([[], 0]);
    attempt.startRead();
    clock.advance(100);
    expect(cancelledAt).toEqual([1_100]);
  });

  // The timer runs first in a turn in which the message lies in the socket: it was set later than the silence began.
  it('is none when the turn in which its time is over brings the message', () => {
    const { clock, cancelledAt, attempt, server } = make();
    const read = { next: true };
    attempt.startRead();
    clock.setTimer(() => {
      server.onMessage('came while the event loop stood still');
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

  it('does not count while this process stands still before its request is sent', () => {
    const { clock, cancelledAt, attempt } = make();
    attempt.startRead();
    clock.block(3_000);
    clock.advance(3_099);
    expect(cancelledAt).toEqual([]);
    clock.advance(1);
    expect(cancelledAt).toEqual([3_100]);
  });

  it.each([
    ['was given up', ({ attempt }: ReturnType<typeof make>) => attempt.abandon()],
    ['has ended', ({ server }: ReturnType<typeof make>) => server.onEnd(ended)],
  ])('is nothing to one that %s meanwhile', (_how, end) => {
    const scene = make();
    scene.attempt.startRead();
    scene.clock.setTimer(() => end(scene), 100);
    scene.clock.advance(1_000);
    expect([scene.cancelledAt, scene.clock.pending]).toEqual([[], 0]);
  });
});

const ended = {
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
