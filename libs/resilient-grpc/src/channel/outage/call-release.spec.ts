import { describe, expect, it } from 'vitest';
import type { Waiter } from '../../call/call-transport.js';
import { LoadBaseline } from '../../policy/queue-release/load-baseline.js';
import { BusyClock } from '../../../../../test/unit-support/busy-clock.js';
import { CallRelease } from './call-release.js';
import { WaitingCalls } from './waiting-calls.js';

const PATH = '/orders.v1.Orders/Get';

const BOUND_MS = 15_000;

/** Creates a release of `count` waiting calls. `released` records the number, the time, and the waiter of each released call. */
function make(count: number, change: (number: number) => Partial<Waiter> = () => ({})) {
  const clock = new BusyClock();
  const waiting = new WaitingCalls(new BusyClock());
  const load = new LoadBaseline(clock.now());
  const channel = { usable: true, freeStreams: Infinity };
  const usable = () => channel.usable;
  const hasFreeStream = () => channel.freeStreams > 0;
  const streamWaits: boolean[] = [];
  const streamWait = { continues: () => void streamWaits.push(true), ended: () => void streamWaits.push(false) };
  const release = new CallRelease(waiting, { load, clock, usable, hasFreeStream, streamWait, withinMs: BOUND_MS });
  const released: { readonly number: number; readonly at: number; readonly waiter: Waiter }[] = [];
  const push = (number: number) => {
    const waiter: Waiter = {
      waitForReady: undefined,
      waitingSince: clock.now(),
      deadline: Infinity,
      bytes: 0,
      rateLimited: false,
      expectsPromptResponse: true,
      path: PATH,
      release: () => {
        channel.freeStreams -= 1;
        released.push({ number, at: clock.now(), waiter });
      },
      refuse: () => undefined,
      ...change(number),
    };
    waiting.push(waiter);
  };
  for (let number = 1; number <= count; number++) push(number);
  return { clock, waiting, load, channel, release, released, push, streamWaits };
}

const STREAM = { expectsPromptResponse: false };

describe('CallRelease', () => {
  it('sends waiting calls in a separate turn, oldest first', () => {
    const { clock, release, released } = make(3);
    release.begin(false);
    expect(released).toEqual([]);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([1, 2, 3]);
    expect(clock.pending).toBe(0);
  });

  it('sends waiting calls in batches after a cold start, so that the event loop is not blocked', () => {
    const { clock, release, released } = make(600);
    // A deferred task runs in the next turn. Each task must release at most one batch.
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
    expect(turns).toEqual([...Array.from({ length: 18 }, () => 32), 24]);
    expect(released).toHaveLength(600);
  });

  it.each([
    ['continues at the pace of the release before it if the server kept up with it', 20, true, true],
    ['begins slowly again if responses were missing when the connection was lost', 20, false, false],
    ['begins slowly again after a longer interruption', 600, true, false],
  ])('%s', (_, awayMs, isAnsweredToTheEnd, isContinued) => {
    const { clock, channel, release, released, load } = make(10_000);
    load.answered(5, PATH);
    let isAnswered = true;
    const sentIn100Ms = (): number => {
      const before = released.length;
      release.begin(true);
      for (let i = 0; i < 10; i++) {
        const sent = released.length;
        clock.advance(10);
        if (isAnswered) for (const { waiter } of released.slice(sent)) release.ended(waiter, 5);
      }
      return released.length - before;
    };
    const first = sentIn100Ms();
    for (let i = 0; i < 10; i++) sentIn100Ms();
    isAnswered = isAnsweredToTheEnd;
    sentIn100Ms();
    channel.usable = false;
    release.stop();
    clock.advance(awayMs);
    channel.usable = true;
    const next = sentIn100Ms();
    if (isContinued) expect(next).toBeGreaterThan(2 * first);
    else expect(next).toBeLessThan(1.5 * first);
  });

  it('paces waiting calls after an outage, and sends them faster while the sent ones receive responses', () => {
    const { clock, release, released, load } = make(1_000);
    load.answered(5, PATH);
    release.begin(true);
    let answered = 0;
    const answer = () => {
      for (; answered < released.length; answered++) release.ended(released[answered]!.waiter, 5);
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
    expect(inSecond[0]).toBeLessThan(300);
    expect(inSecond[1]).toBeGreaterThan(2 * inSecond[0]!);
    expect(released.at(-1)?.number).toBe(1_000);
    expect(released).toHaveLength(1_000);
    expect(clock.pending).toBe(0);
  });

  it('sends waiting calls more slowly if the sent ones fail', () => {
    const good = make(1_000);
    const bad = make(1_000);
    for (const { release, clock, released } of [good, bad]) {
      release.begin(true);
      let ended = 0;
      for (let i = 0; i < 200; i++) {
        clock.advance(10);
        for (; ended < released.length; ended++) {
          release.ended(released[ended]!.waiter, release === good.release ? 5 : 'failed');
        }
      }
    }
    expect(bad.released.length).toBeLessThan(good.released.length / 4);
  });

  it('sends waiting streams at an increasing pace while the sent ones stay open, even without responses', () => {
    const { clock, release, released } = make(300, () => STREAM);
    release.begin(true);
    clock.advance(300);
    expect(released.length).toBeLessThan(10);
    clock.advance(2_700);
    expect(released).toHaveLength(300);
  });

  it('sends waiting streams more slowly if the server rejects the sent ones', () => {
    const { clock, release, released } = make(300, () => STREAM);
    release.begin(true);
    let ended = 0;
    for (let i = 0; i < 300; i++) {
      clock.advance(10);
      for (; ended < released.length; ended++) release.ended(released[ended]!.waiter, 'failed');
    }
    // At the slowest pace, the 300 calls take 14.25 s (the bound less its 5% margin), so about 63 calls are sent in 3 s.
    expect(released.length).toBeLessThanOrEqual(65);
  });

  it('paces calls that were lost with a connection, even without an outage', () => {
    const { clock, release, released } = make(1_000, () => ({ rateLimited: true }));
    release.begin(false);
    clock.advance(100);
    expect(released.length).toBeGreaterThan(0);
    expect(released.length).toBeLessThan(50);
  });

  it('stops the release of waiting calls if the channel becomes unusable again', () => {
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

  it('sends lost calls at a limited pace and all other waiting calls immediately if there was no outage', () => {
    const { clock, release, released } = make(600, (number) => ({ rateLimited: number % 2 === 0 }));
    release.begin(false);
    clock.advance(0);
    const numbers = released.map(({ number }) => number);
    expect(numbers.filter((number) => number % 2 === 1)).toEqual(Array.from({ length: 300 }, (_, i) => 2 * i + 1));
    expect(numbers.filter((number) => number % 2 === 0)).toEqual([2]);
    clock.advance(BOUND_MS);
    expect(released).toHaveLength(600);
    expect(clock.pending).toBe(0);
  });

  it('does not change the pace of lost calls when unpaced calls end', () => {
    const { clock, release, released } = make(600, (number) => ({ rateLimited: number > 300 }));
    const withoutAnswers = make(300, () => ({ rateLimited: true }));
    for (const one of [release, withoutAnswers.release]) one.begin(false);
    clock.advance(0);
    for (const { number, waiter } of released) if (number <= 300) release.ended(waiter, 5);
    withoutAnswers.clock.advance(2_000);
    clock.advance(2_000);
    expect(released).toHaveLength(300 + withoutAnswers.released.length);
  });

  it('sends waiting calls if there was no outage, even if they have less time left than a call usually takes', () => {
    const { clock, release, released, waiting, load } = make(4, (number) => ({
      deadline: Date.UTC(2026, 0, 1) + (number === 3 ? 0 : 30),
    }));
    load.answered(50, PATH);
    release.begin(false);
    clock.advance(0);
    // Call 3 ends without an attempt, because its deadline has passed.
    expect(released.map(({ number }) => number)).toEqual([1, 2, 3, 4]);
    expect(waiting.size).toBe(0);
  });

  it('compares the latency of each released call with the usual latency of its own method, and not with that of a faster method', () => {
    const slow = '/orders.v1.Orders/Create';
    const pathOf = (number: number) => (number % 2 === 0 ? slow : PATH);
    const { clock, release, released, load } = make(400, (number) => ({ path: pathOf(number) }));
    for (let i = 0; i < 500; i++) {
      load.callStarted(clock.now());
      load.answered(5, PATH);
      if (i % 2 === 0) load.answered(300, slow);
    }
    release.begin(true);
    let answered = 0;
    for (let ms = 0; ms < 3_000; ms += 10) {
      clock.advance(10);
      for (const { waiter } of released.slice(answered)) release.ended(waiter, waiter.path === slow ? 310 : 5);
      answered = released.length;
    }
    expect(released).toHaveLength(400);
  });

  describe('calls with little time left after an outage', () => {
    const slow = '/orders.v1.Orders/Export';
    const epoch = Date.UTC(2026, 0, 1);

    /**
     * For 200 ms, releases calls that have no deadline; each is answered after `latencyMs`. Then queues a call of each method with 250 ms
     * left, and returns which of them were sent within 240 ms. Before the outage, the fast method took 5 ms, and the slow one 300 ms.
     */
    function sentWith(latencyMs: number): readonly (string | undefined)[] {
      const { clock, release, released, push, load } = make(40, (number) =>
        number <= 40 ? {} : { deadline: epoch + 450, path: number === 41 ? PATH : slow },
      );
      load.answered(5, PATH);
      load.answered(300, slow);
      release.begin(true);
      let answered = 0;
      const pass = (until: number) => {
        while (clock.epoch() < epoch + until) {
          clock.advance(10);
          for (const { waiter } of released.slice(answered)) release.ended(waiter, latencyMs);
          answered = released.length;
        }
      };
      pass(200);
      push(41);
      push(42);
      pass(440);
      return released.filter(({ number }) => number > 40).map(({ waiter }) => waiter.path);
    }

    it('sends slow and fast calls with little time left if responses are as fast as before the outage', () => {
      expect(sentWith(5)).toEqual([slow, PATH]);
    });

    it('skips calls with too little time left if responses are slower than before the outage', () => {
      expect(sentWith(40)).toEqual([PATH]);
      expect(sentWith(1_000)).toEqual([]);
    });
  });

  it('releases waiting calls whose deadlines have passed, without counting them toward the pace', () => {
    const { clock, release, released } = make(20, (number) =>
      number <= 10 ? { deadline: Date.UTC(2026, 0, 1) - 1 } : {},
    );
    release.begin(true);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  it('sets no release timer if no call is waiting', () => {
    const { clock, release } = make(0);
    release.begin(true);
    expect(clock.pending).toBe(0);
  });

  it('sends waiting calls first, then the calls that arrive during the release', () => {
    const { clock, release, released, push } = make(100);
    release.begin(true);
    clock.advance(0);
    push(101);
    release.begin(true);
    clock.advance(15_000);
    expect(released.map(({ number }) => number)).toEqual(Array.from({ length: 101 }, (_, index) => index + 1));
  });

  it('orders waiting calls by their deadlines or the release bound, whichever is earlier', () => {
    const deadlines = [Infinity, 30_000, 9_000, 3_000, Infinity];
    const { clock, release, released } = make(5, (number) => ({
      deadline: Date.UTC(2026, 0, 1) + (deadlines[number - 1] ?? NaN),
    }));
    release.begin(true);
    clock.advance(15_000);
    expect(released.map(({ number }) => number)).toEqual([4, 3, 1, 2, 5]);
  });
});

/** Ends one released call, or leaves it open. */
type Answer = (held: ReturnType<typeof make>, waiter: Waiter) => void;

describe('release bound', () => {
  const FAST_MS = 5;

  /**
   * Releases all calls. Every 10 ms, runs `perTick`, then `answer` for each newly sent call. Returns the milliseconds from READY to the
   * last release.
   */
  function drain(held: ReturnType<typeof make>, answer: Answer, perTick = () => {}) {
    const { clock, release, released } = held;
    const readyAt = clock.now();
    release.begin(true);
    let answered = 0;
    while (clock.now() < readyAt + 3 * BOUND_MS && held.waiting.size > 0) {
      clock.advance(10);
      perTick();
      for (; answered < released.length; answered++) answer(held, released[answered]!.waiter);
    }
    expect(held.waiting.size).toBe(0);
    return released.at(-1)!.at - readyAt;
  }

  function hold(hasHistory: boolean, count = 2_500) {
    const held = make(0);
    if (hasHistory) {
      for (; held.clock.now() < 10_000;) {
        held.clock.advance(2);
        held.load.callStarted(held.clock.now());
        held.load.answered(FAST_MS, PATH);
      }
      held.load.freeze(held.clock.now());
    }
    for (let number = 1; number <= count; number++) held.push(number);
    return held;
  }

  it.each<[string, Answer]>([
    [
      'responds slowly',
      ({ release }, waiter) => {
        release.ended(waiter, 5_000);
      },
    ],
    [
      'fails every call',
      ({ release }, waiter) => {
        release.ended(waiter, 'failed');
      },
    ],
    ['never responds', () => undefined],
  ])(
    'sends all waiting calls within the release bound, at about a third of the usual load, while the server %s',
    (_, answer) => {
      const held = hold(true);
      const lastMs = drain(held, answer);
      expect(lastMs).toBeLessThanOrEqual(BOUND_MS);
      // The pace is constant, without a burst at the end.
      const { released } = held;
      const secondOf = (ms: number) => released.filter(({ at }) => at >= ms && at < ms + 1_000).length;
      for (let ms = released[0]!.at; ms < released.at(-1)!.at; ms += 1_000)
        expect(secondOf(ms)).toBeLessThan(500 * 0.36);
    },
  );

  it('sends all waiting calls within the release bound while the server responds more and more slowly', () => {
    const answer: Answer = ({ release, clock }, waiter) => {
      release.ended(waiter, (clock.now() - 10_000) / 10);
    };
    expect(drain(hold(true), answer)).toBeLessThanOrEqual(BOUND_MS);
  });

  it.each([true, false])(
    'sends all waiting calls within the release bound if the event loop is blocked half the time (load history: %s)',
    (history) => {
      const held = hold(history);
      const { clock } = held;
      let nextBlockAt = clock.now() + 300;
      const lastMs = drain(
        held,
        ({ release }, waiter) => {
          release.ended(waiter, 5_000);
        },
        () => {
          if (clock.now() < nextBlockAt) return;
          clock.block(300);
          nextBlockAt = clock.now() + 600;
        },
      );
      expect(lastMs).toBeLessThanOrEqual(BOUND_MS);
    },
  );

  it('sends 20,000 waiting calls within the release bound, without delaying the first ones, in a client without load history', () => {
    const held = hold(false, 20_000);
    expect(
      drain(held, ({ release }, waiter) => {
        release.ended(waiter, 5_000);
      }),
    ).toBeLessThanOrEqual(BOUND_MS);
    const { released } = held;
    expect(released.filter(({ at }) => at <= 1_000).length).toBeGreaterThan(1_300);
  });

  it('applies the release bound to calls that arrive during the release, measured from their arrival', () => {
    const held = hold(true);
    const { clock, push } = held;
    const joinedAt = new Map<number, number>();
    let number = 10_000;
    drain(
      held,
      ({ release }, waiter) => {
        release.ended(waiter, 5_000);
      },
      () => {
        if (clock.now() > 20_000 || clock.now() % 100 !== 0) return;
        joinedAt.set(++number, clock.now());
        push(number);
      },
    );
    expect(joinedAt.size).toBeGreaterThan(90);
    for (const { number: sent, at } of held.released) {
      expect(at - (joinedAt.get(sent) ?? 10_000)).toBeLessThanOrEqual(BOUND_MS);
    }
  });

  it('extends the release bound to three times the longest wait if the configured bound is shorter', () => {
    const held = hold(true);
    held.clock.advance(60_000);
    held.load.thaw(held.clock.now());
    const readyAt = held.clock.now();
    held.release.begin(true);
    let answered = 0;
    for (; held.waiting.size > 0;) {
      held.clock.advance(10);
      for (; answered < held.released.length; answered++) held.release.ended(held.released[answered]!.waiter, 5_000);
    }
    const lastMs = held.released.at(-1)!.at - readyAt;
    expect(lastMs).toBeGreaterThan(BOUND_MS);
    expect(lastMs).toBeLessThanOrEqual(180_000);
  });
});

describe('release pace', () => {
  it('increases the release pace faster for early deadlines while response times are normal', () => {
    const sentIn = (deadlineMs: number): number => {
      const { clock, release, released, load } = make(2_000, () => ({ deadline: Date.UTC(2026, 0, 1) + deadlineMs }));
      load.answered(5, PATH);
      release.begin(true);
      for (let answered = 0; clock.now() < 1_000;) {
        clock.advance(10);
        for (; answered < released.length; answered++) release.ended(released[answered]!.waiter, 5);
      }
      return released.length;
    };
    expect(sentIn(2_000)).toBeGreaterThan(1.5 * sentIn(60_000));
  });

  it('does not increase the release pace for early deadlines while responses are slow', () => {
    const { clock, release, released, load } = make(2_000, () => ({ deadline: Date.UTC(2026, 0, 1) + 2_000 }));
    load.answered(5, PATH);
    release.begin(true);
    for (let answered = 0; clock.now() < 1_000;) {
      clock.advance(10);
      for (; answered < released.length; answered++) release.ended(released[answered]!.waiter, 500);
    }
    // At the slowest pace, the 2,000 calls take 14.25 s (the bound less its 5% margin), so about 140 calls are sent in 1 s.
    expect(released.length).toBeLessThanOrEqual(145);
  });
});

describe('release without free streams', () => {
  it('sends as many waiting calls as there are free streams, oldest first, and continues when a stream ends', () => {
    const { clock, channel, release, released, streamWaits, push } = make(5);
    channel.freeStreams = 2;
    release.begin(false);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([1, 2]);
    expect(release.awaitsStream).toBe(true);
    push(6);
    channel.freeStreams = 1;
    release.begin(false);
    release.begin(false);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([1, 2, 3]);
    channel.freeStreams = 100;
    release.begin(false);
    clock.advance(0);
    expect(released.map(({ number }) => number)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(release.awaitsStream).toBe(false);
    expect(streamWaits).toEqual([true, true, false]);
  });

  it('checks for a free stream for the next waiting call even if no call reports its end', () => {
    const { clock, channel, release, released } = make(1);
    channel.freeStreams = 0;
    release.begin(false);
    clock.advance(0);
    channel.freeStreams = 1;
    clock.advance(250);
    expect(released).toHaveLength(1);
  });

  it('keeps the release pace after an outage while calls wait for streams', () => {
    const { clock, channel, release, released } = make(1_000);
    channel.freeStreams = 1;
    release.begin(true);
    clock.advance(500);
    expect(released).toHaveLength(1);
    channel.freeStreams = 1_000;
    release.begin(true);
    clock.advance(100);
    expect(released.length).toBeLessThan(200);
    clock.advance(BOUND_MS);
    expect(released).toHaveLength(1_000);
  });

  it('keeps the release paced while the stream limit slows it, and sends no burst after the limit is raised', () => {
    const { clock, channel, release, released, load } = make(5_000);
    load.answered(5, PATH);
    channel.freeStreams = 1;
    release.begin(true);
    let answered = 0;
    const answer = () => {
      for (; answered < released.length; answered++) release.ended(released[answered]!.waiter, 5);
    };
    // The stream limit allows 50 calls per second. The release bound alone would require 350.
    while (clock.now() < 5_000) {
      clock.advance(20);
      answer();
      channel.freeStreams = 1;
      release.begin(true);
    }
    const before = released.length;
    expect(before).toBeLessThanOrEqual(251);
    channel.freeStreams = Infinity;
    release.begin(true);
    clock.advance(100);
    // The calls are spread over at least a third of the bound, so at most 1,000 are sent per second.
    expect(released.length - before).toBeLessThan(250);
  });

  it('sends calls that the pace allowed but the stream limit delayed, as soon as streams are free', () => {
    const { clock, channel, release, released } = make(5_000);
    channel.freeStreams = 0;
    release.begin(true);
    clock.advance(100);
    for (const freeStreams of [1, Infinity]) {
      channel.freeStreams = freeStreams;
      release.begin(true);
      clock.advance(0);
    }
    // The release bound requires 350 calls per second, so 35 calls are due after 100 ms.
    expect(released).toHaveLength(35);
  });

  it('sends lost calls at their pace while unpaced calls use the remaining free streams', () => {
    const { clock, channel, release, released, push } = make(100, (number) => ({ rateLimited: number <= 100 }));
    for (let number = 101; number <= 400; number++) push(number);
    channel.freeStreams = 0;
    release.begin(false);
    let next = 401;
    while (clock.now() < 1_000) {
      clock.advance(20);
      channel.freeStreams = 1;
      push(next++);
      release.begin(false);
    }
    clock.advance(0);
    const lost = released.filter(({ number }) => number <= 100).length;
    expect(released).toHaveLength(50);
    expect(lost).toBeGreaterThan(5);
    expect(lost).toBeLessThan(25);
  });

  it('sends an unpaced call as soon as a stream is free, while lost calls wait for their turn', () => {
    const { clock, channel, release, released, push } = make(10, (number) => ({ rateLimited: number <= 10 }));
    release.begin(false);
    clock.advance(10);
    const before = released.length;
    channel.freeStreams = 0;
    push(11);
    release.begin(false);
    clock.advance(0);
    channel.freeStreams = 1;
    release.begin(false);
    clock.advance(0);
    expect(released.slice(before).map(({ number }) => number)).toEqual([11]);
  });
});
