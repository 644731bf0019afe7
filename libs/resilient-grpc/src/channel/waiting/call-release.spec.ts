import { describe, expect, it } from 'vitest';
import type { Waiter } from '../../call/call-transport.js';
import { UsualLoad } from '../../policy/release/usual-load.js';
import { VirtualClock } from '../../testing/virtual-clock.js';
import { CallRelease } from './call-release.js';
import { WaitingCalls } from './waiting-calls.js';

/** `count` calls that wait, and the numbers of those released, in order. */
function make(count: number, change: (number: number) => Partial<Waiter> = () => ({})) {
  const clock = new VirtualClock();
  const waiting = new WaitingCalls();
  const load = new UsualLoad(clock.now());
  const channel = { usable: true };
  const release = new CallRelease(waiting, load, clock, () => channel.usable);
  const released: { readonly number: number; readonly at: number }[] = [];
  const push = (number: number) => {
    waiting.push({
      waitForReady: undefined,
      waitingSince: 0,
      deadline: Infinity,
      bytes: 0,
      paced: false,
      answerDue: true,
      release: () => released.push({ number, at: clock.now() }),
      refuse: () => undefined,
      ...change(number),
    });
  };
  for (let number = 1; number <= count; number++) push(number);
  return { clock, waiting, load, channel, release, released, push };
}

const UNARY = { answerDue: true };
const STREAM = { answerDue: false };

describe('waiting calls, when the channel is usable', () => {
  it('are let out in a turn of their own, newest first', () => {
    const { clock, release, released } = make(3);
    release.begin(false);
    expect(released).toEqual([]);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([3, 2, 1]);
    expect(clock.pending).toBe(0);
  });

  it('go out in slices after a cold start, so that the event loop breathes', () => {
    const { clock, release, released } = make(600);
    // A deferred task runs at the next turn: nothing between two of them may let out more than a slice.
    const turns: number[] = [];
    const { defer } = clock;
    clock.defer = (task) => {
      defer.call(clock, () => {
        const before = released.length;
        task();
        turns.push(released.length - before);
      });
    };
    release.begin(false);
    clock.advance(0);
    expect(turns).toEqual([256, 256, 88]);
    expect(released).toHaveLength(600);
  });

  it('go out at a pace after an outage: not all at once, and faster while they are answered', () => {
    const { clock, release, released, load } = make(1_000);
    load.answered(5);
    release.begin(true);
    let answered = 0;
    const answer = () => {
      for (; answered < released.length; answered++) release.answered(UNARY, 5);
    };
    const inSecond: number[] = [];
    for (let second = 0; second < 4; second++) {
      const before = released.length;
      for (let i = 0; i < 100; i++) {
        clock.advance(10);
        answer();
      }
      inSecond.push(released.length - before);
    }
    expect(inSecond[0]).toBeLessThan(100);
    expect(inSecond[1]).toBeGreaterThan(2 * inSecond[0]!);
    expect(released.at(-1)?.number).toBe(1);
    expect(released).toHaveLength(1_000);
    expect(clock.pending).toBe(0);
  });

  it('go out more slowly when they fail', () => {
    const good = make(1_000);
    const bad = make(1_000);
    for (const { release, clock, released } of [good, bad]) {
      release.begin(true);
      let told = 0;
      for (let i = 0; i < 200; i++) {
        clock.advance(10);
        for (; told < released.length; told++) {
          if (release === good.release) release.answered(UNARY, 5);
          else release.failed(UNARY);
        }
      }
    }
    expect(bad.released.length).toBeLessThan(good.released.length / 4);
  });

  it('go out faster and faster where they are streams that stay open, though nothing comes of them', () => {
    const { clock, release, released } = make(300, () => STREAM);
    release.begin(true);
    clock.advance(300);
    expect(released.length).toBeLessThan(10);
    clock.advance(2_700);
    expect(released).toHaveLength(300);
  });

  it('go out more slowly where they are streams that the server refuses', () => {
    const { clock, release, released } = make(300, () => STREAM);
    release.begin(true);
    let told = 0;
    for (let i = 0; i < 300; i++) {
      clock.advance(10);
      for (; told < released.length; told++) release.failed(STREAM);
    }
    expect(released.length).toBeLessThan(20);
  });

  it('go out at a pace too where they were lost with a connection, though no outage was on', () => {
    const { clock, release, released } = make(1_000, () => ({ paced: true }));
    release.begin(false);
    clock.advance(100);
    expect(released.length).toBeGreaterThan(0);
    expect(released.length).toBeLessThan(50);
  });

  it('stay where they are when it is lost again', () => {
    const { clock, release, released, channel } = make(1_000);
    release.begin(true);
    clock.advance(50);
    const before = released.length;
    channel.usable = false;
    clock.advance(10_000);
    expect(released).toHaveLength(before);
    channel.usable = true;
    release.begin(true);
    clock.advance(200);
    expect(released.length).toBeGreaterThan(before);
    release.stop();
    expect(clock.pending).toBe(0);
  });

  it('that have less time left than a call usually takes are passed over', () => {
    const { clock, release, released, waiting, load } = make(4, (number) =>
      number % 2 === 0 ? { deadline: Date.UTC(2026, 0, 1) + 30 } : { deadline: Date.UTC(2026, 0, 1) + 100 },
    );
    load.answered(50);
    release.begin(false);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([3, 1]);
    expect(waiting.size).toBe(0);
  });

  it('need no timer where there are none', () => {
    const { clock, release } = make(0);
    release.begin(true);
    expect(clock.pending).toBe(0);
  });

  it('that come while others are let out stand in the same queue, on top', () => {
    const { clock, release, released, push } = make(100);
    release.begin(true);
    clock.advance(0);
    push(101);
    release.begin(true);
    clock.advance(1_000);
    expect(released[0]?.number).toBe(100);
    expect(released[1]?.number).toBe(101);
  });
});
