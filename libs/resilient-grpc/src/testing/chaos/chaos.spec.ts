import { getEventListeners } from 'node:events';
import { beforeEach, describe, expect, it } from 'vitest';
import { VirtualClock } from '../virtual-clock.js';
import { selectFaults, type ChaosFault } from './chaos-fault.js';
import { chaos, ChaosError } from './chaos.js';
import type { ChaosRun } from './chaos.js';

const PLAN = {
  seed: 7,
  durationMs: 1_000,
  steps: [
    { atMs: 100, fault: 'cut', forMs: 0 },
    { atMs: 300, fault: 'hold', forMs: 200 },
  ],
};

describe('chaos', () => {
  let clock: VirtualClock;
  let log: string[];
  let faults: ChaosFault[];

  beforeEach(() => {
    clock = new VirtualClock();
    log = [];
    const note = (step: string) => () => {
      log.push(`${clock.now()} ${step}`);
    };
    faults = [
      { name: 'cut', begin: note('cut') },
      { name: 'hold', begin: note('hold'), end: note('release') },
    ];
  });

  const untilOver = ({ signal }: ChaosRun) =>
    new Promise<string>((resolve) => {
      signal.addEventListener('abort', () => {
        log.push(`${clock.now()} over`);
        resolve('done');
      });
    });
  const failure = async (promise: Promise<unknown>) => {
    const error = await promise.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ChaosError);
    return error as ChaosError;
  };

  it('injects each chaos fault at its time, aborts the signal of the run at the end, and returns the result of the run', async () => {
    const result = chaos({ plan: PLAN, faults, clock }, untilOver);
    await clock.advanceAsync(999);
    expect(log).toEqual(['100 cut', '300 hold', '500 release']);
    await clock.advanceAsync(1);
    expect(await result).toBe('done');
    expect(log.at(-1)).toBe('1000 over');
    expect(clock.pending).toBe(0);
  });

  it('heals the active fault and ends chaos if the run ends early', async () => {
    const result = chaos({ plan: PLAN, faults, clock }, async () => {
      await clock.advanceAsync(400);
      return 'early';
    });
    expect(await result).toBe('early');
    expect(log).toEqual(['100 cut', '300 hold', '400 release']);
    expect(clock.pending).toBe(0);
  });

  it('heals the active fault and reports the faults so far and the cause, but no seed, if a chaos run with a given plan fails', async () => {
    const cause = new Error('an order was lost');
    const error = await failure(
      chaos({ plan: PLAN, faults, clock }, async () => {
        await clock.advanceAsync(350);
        throw cause;
      }),
    );
    expect(error.message).toBe(
      'chaos failed (replay with the same plan): an order was lost\nafter 2 of 2 faults:\n  at 100 ms: cut\n  at 300 ms: hold for 200 ms',
    );
    expect(error.cause).toBe(cause);
    expect(log.at(-1)).toBe('350 release');
    expect(clock.pending).toBe(0);
  });

  it('replays a random chaos plan from the seed that a ChaosError contains', async () => {
    const options = { durationMs: 60_000, faults, clock };
    const { plan, message } = await failure(chaos(options, () => Promise.reject(new Error('x'))));
    expect(message).toContain(`(replay with seed ${plan.seed})`);
    let replayed: unknown;
    await chaos({ ...options, seed: plan.seed }, async (run) => {
      replayed = run.plan;
    });
    expect(replayed).toEqual(plan);
    expect(plan.steps.length).toBeGreaterThan(10);
  });

  it.each([100, 400])(
    "ends chaos when the caller's signal is aborted at %d ms, even if the run does not end",
    async (at) => {
      const controller = new AbortController();
      let aborted = false;
      const result = chaos({ plan: PLAN, faults, clock, signal: controller.signal }, ({ signal }) => {
        signal.addEventListener('abort', () => (aborted = true));
        return new Promise(() => undefined);
      });
      const failed = failure(result);
      await clock.advanceAsync(at);
      controller.abort(new Error('time is up'));
      expect((await failed).message).toContain('the same plan): time is up');
      expect(aborted).toBe(true);
      expect(log.at(-1)).toBe(at === 100 ? '100 cut' : '400 release');
      expect(clock.pending).toBe(0);
    },
  );

  it("injects no chaos fault if the caller's signal is already aborted", async () => {
    let ran = false;
    const error = await failure(
      chaos({ plan: PLAN, faults, clock, signal: AbortSignal.abort('no') }, async () => {
        ran = true;
      }),
    );
    expect(ran).toBe(false);
    expect(error.message).toBe('chaos failed (replay with the same plan): no\nbefore its first fault');
    expect(log).toEqual([]);
  });

  it.each(['begin', 'end'] as const)(
    "ends chaos when the caller's signal is aborted while %s() of a fault hangs",
    async (part) => {
      const hanging: ChaosFault = {
        name: 'cut',
        begin: () => undefined,
        end: () => log.push(`${clock.now()} heal`),
      };
      const controller = new AbortController();
      const hang = () => {
        log.push(`${clock.now()} ${part} hangs`);
        return new Promise<never>(() => undefined);
      };
      const options = { plan: PLAN, clock, signal: controller.signal, graceMs: 3_000 };
      const failed = failure(chaos({ ...options, faults: [{ ...hanging, [part]: hang }, faults[1]!] }, untilOver));
      await clock.advanceAsync(200);
      controller.abort(new Error('time is up'));
      await clock.advanceAsync(part === 'begin' ? 0 : 2_900);
      const { message } = await failed;
      expect(message).toContain(
        part === 'begin'
          ? 'the same plan): time is up\nafter 1 of 2 faults:\n  at 100 ms: cut'
          : "the same plan): time is up; fault 'cut' was not healed within 3000 ms\nafter 1 of 2",
      );
      expect(log.slice(0, 3)).toEqual([
        `100 ${part} hangs`,
        ...(part === 'begin' ? ['200 over', '200 heal'] : ['200 over']),
      ]);
      expect(clock.pending).toBe(0);
    },
  );

  it.each([
    ['a fault that does not begin', { begin: true }, "fault 'cut' did not start within 3000 ms", 3_100],
    ['a fault that is not healed', { end: true }, "fault 'cut' was not healed within 3000 ms", 3_100],
    ['a run that does not end', {}, 'run did not end within 3000 ms after its signal was aborted', 4_000],
  ])(
    'suggests replaying the given chaos plan, and reports %s',
    async (_, hangs: { readonly begin?: boolean; readonly end?: boolean }, why, atMs) => {
      const forever = () => new Promise(() => undefined);
      const cut = { name: 'cut', begin: hangs.begin ? forever : () => undefined, end: hangs.end ? forever : undefined };
      let failedAt: number | undefined;
      const run = why.includes('run did not end') ? forever : untilOver;
      const failed = failure(
        chaos({ plan: PLAN, faults: [cut as ChaosFault, faults[1]!], clock, graceMs: 3_000 }, run),
      );
      void failed.then(() => (failedAt = clock.now()));
      await clock.advanceAsync(10_000);
      expect((await failed).message).toContain(`the same plan): ${why}\n`);
      expect(failedAt).toBeDefined();
      expect(clock.pending).toBe(0);
      expect(log).toContain(atMs === 4_000 ? '500 release' : `${atMs} over`);
    },
  );

  it('waits for a chaos fault that is still beginning when the run ends, and then heals it', async () => {
    const slow: ChaosFault = {
      name: 'cut',
      begin: () => new Promise<void>((resolve) => void clock.setTimer(resolve, 2_000)),
      end: () => log.push(`${clock.now()} heal`),
    };
    const early = () => new Promise<string>((resolve) => void clock.setTimer(() => resolve('early'), 200));
    const ran = chaos({ plan: PLAN, faults: [slow, faults[1]!], clock }, early);
    await clock.advanceAsync(3_000);
    expect(await ran).toBe('early');
    expect(log).toEqual(['2100 heal']);
  });

  it("removes the listeners of chaos from the caller's signal", async () => {
    const { signal } = new AbortController();
    await chaos({ plan: PLAN, faults, clock, signal }, () => clock.advanceAsync(400));
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it.each([0, -1, NaN])('rejects a chaos grace period of %d ms', async (graceMs) => {
    await expect(chaos({ plan: PLAN, faults, clock, graceMs }, untilOver)).rejects.toThrow(
      `chaos: expected graceMs to be greater than 0, got ${graceMs}`,
    );
  });

  it('keeps the planned interval before the next fault if a chaos fault takes longer than planned', async () => {
    const slow: ChaosFault = {
      name: 'cut',
      begin: () => new Promise<void>((resolve) => void clock.setTimer(resolve, 5_000)),
    };
    const result = chaos({ plan: PLAN, faults: [slow, faults[1]!], clock }, untilOver);
    await clock.advanceAsync(10_000);
    await result;
    expect(log).toEqual(['5300 hold', '5500 release', '6000 over']);
  });

  it('fails if begin() or end() of a chaos fault rejects', async () => {
    const broken = (part: 'begin' | 'end'): ChaosFault => ({
      name: 'cut',
      begin: () => undefined,
      [part]: () => Promise.reject(new Error(`no ${part}`)),
    });
    for (const part of ['begin', 'end'] as const) {
      const failed = failure(chaos({ plan: PLAN, faults: [broken(part), faults[1]!], clock }, untilOver));
      await clock.advanceAsync(1_000);
      expect((await failed).message).toContain(`the same plan): no ${part}`);
    }
  });

  it('rejects an unknown option of chaos() and an unknown weight of a fault kit, and suggests the closest name', async () => {
    await expect(chaos({ sed: 1, plan: PLAN, faults } as never, untilOver)).rejects.toThrow(
      "chaos.sed: unknown key; did you mean 'seed'?",
    );
    expect(() => selectFaults('networkFaults', { reset: faults[0]! }, { rest: 1 } as never)).toThrow(
      "networkFaults.weights.rest: unknown key; did you mean 'reset'?",
    );
  });

  it('rejects a chaos plan with an unknown fault', async () => {
    await expect(chaos({ plan: PLAN, faults: [] }, untilOver)).rejects.toThrow(
      "chaos: expected a fault named 'cut' in faults",
    );
  });
});
