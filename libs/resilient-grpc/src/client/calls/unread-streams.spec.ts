import { describe, expect, it } from 'vitest';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { UnreadStreams } from './unread-streams.js';

/** Creates an `UnreadStreams` with the limit `afterMs`, and records the streams that are reported as unread. */
function make(afterMs = 60_000) {
  const clock = new BusyClock();
  const streams = new UnreadStreams(afterMs, clock);
  const reported: [name: string, unreadMs: number, at: number][] = [];
  const open = (name: string) => {
    const demand = { requested: 1, waiting: false };
    const stream = { unread: (unreadMs: number) => void reported.push([name, unreadMs, clock.now()]) };
    streams.watch(stream, demand);
    return { demand, stream };
  };
  return { clock, streams, reported, open };
}

describe('UnreadStreams', () => {
  it('does not count the time of a blocked event loop toward the time limit of an unread stream', () => {
    const { clock, reported, open } = make();
    open('held up');
    clock.advance(1_000);
    clock.block(120_000);
    clock.advance(150_000);
    expect(reported).toEqual([]);
    clock.advance(40_000);
    expect(reported).toEqual([['held up', 52_500, expect.any(Number)]]);
  });

  it('does not report a stream as unread if it is read slowly', () => {
    const { clock, reported, open } = make();
    const { demand } = open('slow');
    for (let i = 0; i < 20; i++) {
      clock.advance(50_000);
      demand.requested += 1;
    }
    expect(reported).toEqual([]);
  });

  it('reports an unread stream again if it was read and is unread once more', () => {
    const { clock, reported, open } = make();
    const { demand } = open('twice');
    clock.advance(60_000);
    demand.requested += 1;
    clock.advance(67_500);
    expect(reported).toHaveLength(2);
  });

  it('does not report a stream as unread after its end, and clears the timer when the last stream ends', () => {
    const { clock, streams, reported, open } = make();
    const [first, second] = [open('first'), open('second')];
    streams.forget(first.stream);
    expect(clock.pending).toBe(1);
    streams.forget(second.stream);
    expect(clock.pending).toBe(0);
    clock.advance(600_000);
    expect(reported).toEqual([]);
  });
});
