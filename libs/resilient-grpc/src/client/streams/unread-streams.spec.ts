import { describe, expect, it } from 'vitest';
import { BusyClock } from '../../testing/busy-clock.js';
import { UnreadStreams } from './unread-streams.js';

/** Streams that are looked for after a minute, and what was told of them. */
function make(afterMs = 60_000) {
  const clock = new BusyClock();
  const streams = new UnreadStreams(afterMs, clock);
  const reported: [name: string, unreadMs: number, at: number][] = [];
  const open = (name: string) => {
    const demand = { asked: 1, waiting: false };
    const stream = { unread: (unreadMs: number) => void reported.push([name, unreadMs, clock.now()]) };
    streams.watch(stream, demand);
    return { demand, stream };
  };
  return { clock, streams, told: reported, open };
}

describe('a stream that is read on demand', () => {
  it('and that nobody reads is told once, within the time', () => {
    const { clock, told: reported, open } = make();
    open('lost');
    clock.advance(52_499);
    expect(reported).toEqual([]);
    clock.advance(7_501);
    expect(reported).toEqual([['lost', 52_500, 52_500]]);
    clock.advance(600_000);
    expect(reported).toHaveLength(1);
  });

  it('is not told while somebody waits for a message, however long none comes', () => {
    const { clock, told: reported, open } = make();
    const { demand } = open('quiet');
    demand.waiting = true;
    clock.advance(600_000);
    expect(reported).toEqual([]);
  });

  it('reports nothing after a standstill of this process, in which no reader could ask for a message', () => {
    const { clock, told: reported, open } = make();
    open('held up');
    clock.advance(1_000);
    clock.block(120_000);
    clock.advance(150_000);
    expect(reported).toEqual([]);
    clock.advance(40_000);
    expect(reported).toEqual([['held up', 52_500, expect.any(Number)]]);
  });

  it('is not told while it is read slowly', () => {
    const { clock, told: reported, open } = make();
    const { demand } = open('slow');
    for (let i = 0; i < 20; i++) {
      clock.advance(50_000);
      demand.asked += 1;
    }
    expect(reported).toEqual([]);
  });

  it('is told again when it was read and left once more', () => {
    const { clock, told: reported, open } = make();
    const { demand } = open('twice');
    clock.advance(60_000);
    demand.asked += 1;
    clock.advance(67_500);
    expect(reported).toHaveLength(2);
  });

  it('is forgotten when it is over, and leaves no timer behind', () => {
    const { clock, streams, told: reported, open } = make();
    const [one, other] = [open('one'), open('other')];
    streams.forget(one.stream);
    expect(clock.pending).toBe(1);
    streams.forget(other.stream);
    expect(clock.pending).toBe(0);
    clock.advance(600_000);
    expect(reported).toEqual([]);
  });

  it('is not looked for where the time is Infinity', () => {
    const { clock, open } = make(Infinity);
    open('lost');
    expect(clock.pending).toBe(0);
  });
});
