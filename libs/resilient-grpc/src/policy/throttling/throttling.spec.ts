import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { A6Throttle, DEFAULT_BUDGET_POLICY, DefaultBudget, type RetryBudget } from './default-budget.js';

/** Creates the connection of a lost attempt. The connection stays open while its streams are reset. */
const makeOpenConnection = () => ({ connection: {}, acceptsNoStreams: false });
/** Creates the closed connection of a lost attempt. */
const makeClosedConnection = () => ({ connection: {}, acceptsNoStreams: true });

function repeat(times: number, task: () => void): void {
  for (let i = 0; i < times; i++) task();
}

describe('A6Throttle', () => {
  const sample = { maxTokens: 10, tokenRatio: 0.1 };

  it('starts an A6 throttle with all tokens', () => expect(new A6Throttle(sample).tokens()).toBe(10));

  it('takes one token from an A6 throttle per failure, down to 0', () => {
    const throttle = new A6Throttle(sample);
    throttle.onFailure();
    expect(throttle.tokens()).toBe(9);
    repeat(100, () => throttle.onFailure());
    expect(throttle.tokens()).toBe(0);
  });

  it('allows retries while an A6 throttle has more than half of its tokens, but not at exactly half', () => {
    const throttle = new A6Throttle(sample);
    repeat(4, () => throttle.onFailure());
    expect(throttle.tryRetry()).toBe(true);
    throttle.onFailure();
    expect(throttle.tokens()).toBe(5);
    expect(throttle.tryRetry()).toBe(false);
  });

  it('returns exactly tokenRatio tokens to an A6 throttle per success, up to maxTokens', () => {
    const throttle = new A6Throttle(sample);
    repeat(5, () => throttle.onFailure());
    repeat(3, () => throttle.onSuccess());
    expect(throttle.tokens()).toBe(5.3);
    repeat(1_000, () => throttle.onSuccess());
    expect(throttle.tokens()).toBe(10);
  });

  it('takes no token from an A6 throttle for a retry', () => {
    const throttle = new A6Throttle(sample);
    repeat(50, () => throttle.tryRetry());
    expect(throttle.tokens()).toBe(10);
  });

  it.each([
    [0.1239, 0.123],
    [1.001, 1.001],
    [0.57, 0.57],
    [0.0019999, 0.001],
  ])('keeps three decimals of a tokenRatio of %d and drops the rest', (tokenRatio, kept) => {
    const throttle = new A6Throttle({ maxTokens: 10, tokenRatio });
    repeat(10, () => throttle.onFailure());
    throttle.onSuccess();
    expect(throttle.tokens()).toBe(kept);
  });
});

describe('DefaultBudget', () => {
  describe('after exceeded deadlines', () => {
    /** Reports at 3,000 ms that the deadlines of calls that started at 1,000 ms have passed. */
    const stall = (budget: DefaultBudget, deadlines: number): void => {
      repeat(deadlines, () => budget.onDeadline(3_000, 1_000));
    };

    it('allows all retries after one call exceeded its deadline', () => {
      const budget = new DefaultBudget();
      stall(budget, 1);
      expect(budget.tokens(3_000)).toBe(10);
    });

    it('allows all retries after sequential calls exceeded their deadlines', () => {
      const budget = new DefaultBudget();
      for (let now = 0; now < 20_000; now += 1_000) budget.onDeadline(now + 1_000, now);
      expect(budget.tokens(20_000)).toBe(10);
    });

    it('allows only two retries of attempts with a server status after two concurrent calls exceeded their deadlines', () => {
      const budget = new DefaultBudget();
      budget.onSuccess(900);
      stall(budget, 2);
      expect([1, 2, 3].map(() => budget.tryRetry(3_000))).toEqual([true, true, false]);
      repeat(9, () => budget.onSuccess(3_000));
      expect([1, 2].map(() => budget.tryRetry(3_000))).toEqual([true, false]);
    });

    it('grants all tokens to retries of attempts that lost their connections, even if concurrent calls exceeded their deadlines', () => {
      const budget = new DefaultBudget();
      stall(budget, 6);
      expect(budget.tryRetry(3_000)).toBe(false);
      expect(budget.tokens(3_000)).toBeCloseTo(10 * 0.25 ** 5);
      const granted = Array.from({ length: 11 }, () => budget.tryRetry(3_000, makeClosedConnection()));
      expect(granted).toEqual([...Array.from({ length: 10 }, () => true), false]);
    });

    it('returns withheld retry tokens with each success, even if no token was taken', () => {
      const budget = new DefaultBudget();
      stall(budget, 2);
      repeat(10, () => budget.onSuccess(3_000));
      expect(budget.tokens(3_000)).toBeCloseTo(2.5 + 10 * 0.12);
      repeat(1_000, () => budget.onSuccess(3_000));
      expect(budget.tokens(3_000)).toBe(10);
    });

    it('returns all withheld retry tokens 5 s after the last deadline', () => {
      const budget = new DefaultBudget();
      stall(budget, 6);
      expect(budget.tryRetry(7_999)).toBe(false);
      expect(budget.tokens(8_000)).toBe(10);
      expect(budget.tryRetry(8_000)).toBe(true);
    });

    it('allows all retries if another call succeeded between the start of the calls and their deadlines, because the server is not stalled', () => {
      const budget = new DefaultBudget();
      budget.onSuccess(1_000);
      stall(budget, 6);
      expect(budget.tokens(3_000)).toBe(10);
    });
  });

  it('takes one token from the default budget per retry, and refuses the retry if no token is left', () => {
    const budget = new DefaultBudget();
    repeat(10, () => expect(budget.tryRetry(0)).toBe(true));
    expect(budget.tryRetry(0)).toBe(false);
    expect(budget.tokens(0)).toBe(0);
  });

  it('takes no token from the default budget for failures', () => {
    const budget = new DefaultBudget();
    repeat(100, () => budget.onFailure());
    expect(budget.tokens(0)).toBe(10);
  });

  it('returns 0.12 tokens to the default budget per success', () => {
    const budget = new DefaultBudget();
    repeat(10, () => budget.tryRetry(0));
    repeat(8, () => budget.onSuccess(0));
    expect(budget.tryRetry(0)).toBe(false);
    repeat(1, () => budget.onSuccess(0));
    expect(budget.tryRetry(0)).toBe(true);
  });

  it('returns one token per 20 s to the default budget, so that a client with few calls can retry', () => {
    const budget = new DefaultBudget();
    repeat(10, () => budget.tryRetry(0));
    expect(budget.tryRetry(19_000)).toBe(false);
    expect(budget.tryRetry(20_001)).toBe(true);
    expect(budget.tokens(1e9)).toBe(10);
  });

  it('takes one retry token for 512 attempts that are lost on one open connection within 128 ms', () => {
    const budget = new DefaultBudget();
    const connection = makeOpenConnection();
    for (let i = 0; i < 512; i++) expect(budget.tryRetry(i / 4, connection)).toBe(true);
    expect(budget.tokens(0)).toBe(9);
  });

  describe('with attempts of one connection', () => {
    type Step = readonly [at: number, acceptsNoStreams: boolean];
    const CLOSED = true;

    it.each<[string, readonly Step[], number]>([
      [
        'takes one retry token for lost attempts of a closed connection, regardless of the time between the attempts',
        [
          [0, CLOSED],
          [300, CLOSED],
          [1_300, CLOSED],
          [90_000, CLOSED],
        ],
        1,
      ],
      [
        'takes one retry token for lost attempts if their connection closes within 250 ms after the first loss',
        [
          [0, !CLOSED],
          [250, CLOSED],
          [1_000, CLOSED],
          [9_000, CLOSED],
        ],
        1,
      ],
      [
        'takes a second retry token for lost attempts if their connection closes more than 250 ms after the first loss',
        [
          [0, !CLOSED],
          [251, CLOSED],
          [1_000, CLOSED],
          [9_000, CLOSED],
        ],
        2,
      ],
      [
        'takes one retry token per 250 ms for lost attempts while their connection stays open',
        [
          [0, !CLOSED],
          [250, !CLOSED],
          [251, !CLOSED],
          [502, !CLOSED],
        ],
        3,
      ],
      [
        'takes no further retry token if a late reset reports a closed connection as open',
        [
          [0, CLOSED],
          [300, !CLOSED],
          [9_000, CLOSED],
        ],
        1,
      ],
    ])('%s', (_, steps, cost) => {
      // No refill over time.
      const budget = new DefaultBudget({ ...DEFAULT_BUDGET_POLICY, perSecond: 0 });
      const connection = {};
      for (const [at, acceptsNoStreams] of steps)
        expect(budget.tryRetry(at, { connection, acceptsNoStreams })).toBe(true);
      expect(budget.tokens(0)).toBe(10 - cost);
    });

    it('grants retries for a lost connection again if a token was returned and the refused retry was more than 250 ms ago', () => {
      const budget = new DefaultBudget();
      repeat(10, () => budget.tryRetry(0));
      const connection = makeClosedConnection();
      expect(budget.tryRetry(0, connection)).toBe(false);
      repeat(9, () => budget.onSuccess(100));
      expect(budget.tryRetry(250, connection)).toBe(false);
      expect([251, 600, 2_000].map((now) => budget.tryRetry(now, connection))).toEqual([true, true, true]);
    });
  });

  it('takes one retry token per lost connection', () => {
    const budget = new DefaultBudget();
    const [a, b, c] = [makeClosedConnection(), makeClosedConnection(), makeClosedConnection()];
    for (const connection of [a, b, a, c, b]) budget.tryRetry(0, connection);
    expect(budget.tokens(0)).toBe(7);
  });

  it('refuses the retry of each attempt that fails within 250 ms of a refused retry for the same connection', () => {
    const budget = new DefaultBudget();
    repeat(10, () => budget.tryRetry(0));
    const [refused, other] = [makeClosedConnection(), makeClosedConnection()];
    expect(budget.tryRetry(0, refused)).toBe(false);
    repeat(20, () => budget.onSuccess(0));
    expect(budget.tryRetry(1, refused)).toBe(false);
    expect(budget.tryRetry(1, other)).toBe(true);
  });

  it('takes further retry tokens while streams of an open connection are reset', () => {
    const budget = new DefaultBudget();
    let granted = 0;
    const connection = makeOpenConnection();
    for (let now = 0; now < 60_000; now += 10) if (budget.tryRetry(now, connection)) granted++;
    // 10 tokens, plus 3 that are returned within the minute. Each token covers a quarter of a second.
    expect(granted).toBeLessThanOrEqual(13 * 26);
  });

  it('limits a client with 10 or more calls per second to 1.1 attempts per call while all attempts fail for a minute', () => {
    const measureAttemptsPerCall = (callsPerSecond: number): number => {
      const budget = new DefaultBudget();
      let attempts = 0;
      for (let call = 0; call < callsPerSecond * 60; call++) {
        attempts++;
        for (let n = 1; n < 4 && budget.tryRetry((call / callsPerSecond) * 1_000); n++) attempts++;
      }
      return attempts / (callsPerSecond * 60);
    };
    expect(measureAttemptsPerCall(10)).toBeLessThanOrEqual(1.1);
    expect(measureAttemptsPerCall(200)).toBeLessThan(1.01);
  });
});

describe('budget of either kind', () => {
  const config = fc.record({
    maxTokens: fc.integer({ min: 1, max: 1_000 }),
    tokenRatio: fc.double({ min: 0.001, max: 2_000, noNaN: true }),
  });
  const budget = fc.oneof(
    config.map((a6) => ({ max: a6.maxTokens, make: (): RetryBudget => new A6Throttle(a6) })),
    fc.constant({ max: 10, make: (): RetryBudget => new DefaultBudget() }),
  );
  const step = fc.tuple(
    fc.constantFrom('success', 'failure', 'retry'),
    fc.nat(30_000),
    fc.constantFrom(undefined, makeOpenConnection(), makeClosedConnection()),
  );

  it('keeps the tokens of a retry budget between 0 and the maximum for any sequence of events', () => {
    fc.assert(
      fc.property(budget, fc.array(step), ({ max, make }, steps) => {
        const subject = make();
        let now = 0;
        for (const [event, elapsedMs, lostWith] of steps) {
          now += elapsedMs;
          if (event === 'success') subject.onSuccess(now);
          else if (event === 'failure') subject.onFailure();
          else subject.tryRetry(now, lostWith);
          expect(subject.tokens(now)).toBeGreaterThanOrEqual(0);
          expect(subject.tokens(now)).toBeLessThanOrEqual(max);
        }
      }),
    );
  });
});
