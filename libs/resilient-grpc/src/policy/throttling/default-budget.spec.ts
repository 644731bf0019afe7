import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { LiveBudget } from './default-budget.js';

const SAMPLE = { maxTokens: 10, tokenRatio: 0.1 };

function fail(budget: LiveBudget, times: number): void {
  for (let i = 0; i < times; i++) budget.current.onFailure();
}

describe('LiveBudget', () => {
  it('starts a retry budget with all tokens, even if the service config has no throttle', () => {
    expect(new LiveBudget(SAMPLE).current.tokens(0)).toBe(10);
    expect(new LiveBudget(undefined).current.tokens(0)).toBe(10);
  });

  it('applies the retry throttle of the service config', () => {
    const budget = new LiveBudget(SAMPLE);
    fail(budget, 5);
    expect(budget.current.tryRetry(0)).toBe(false);
    budget.current.onSuccess(0);
    expect(budget.current.tokens(0)).toBe(5.1);
    expect(budget.current.tryRetry(0)).toBe(true);
  });

  it('applies the default retry budget if the service config has no throttle', () => {
    const budget = new LiveBudget(undefined);
    fail(budget, 5);
    expect(budget.current.tokens(0)).toBe(10);
    expect(budget.current.tryRetry(0)).toBe(true);
    expect(budget.current.tokens(0)).toBe(9);
  });

  it.each<[title: string, failures: number, maxTokens: number, tokens: number]>([
    ['a full budget stays full', 0, 100, 100],
    ['a half-full budget stays half-full', 5, 100, 50],
    ['a budget at 60% stays at 60%', 4, 5, 3],
    ['an empty budget stays empty', 10, 1_000, 0],
  ])('keeps the share of retry tokens if maxTokens changes: %s', (_title, failures, maxTokens, tokens) => {
    const budget = new LiveBudget(SAMPLE);
    fail(budget, failures);
    budget.change({ maxTokens, tokenRatio: 0.1 }, 0);
    expect(budget.current.tokens(0)).toBe(tokens);
  });

  it('applies a new tokenRatio and keeps the retry tokens', () => {
    const budget = new LiveBudget(SAMPLE);
    fail(budget, 5);
    budget.change({ maxTokens: 10, tokenRatio: 2 }, 0);
    budget.current.onSuccess(0);
    expect(budget.current.tokens(0)).toBe(7);
  });

  it('keeps the share of retry tokens if a throttle replaces the default budget, and vice versa', () => {
    const budget = new LiveBudget(undefined);
    for (let i = 0; i < 8; i++) budget.current.tryRetry(0);
    budget.change({ maxTokens: 100, tokenRatio: 1 }, 0);
    expect(budget.current.tokens(0)).toBe(20);
    expect(budget.current.tryRetry(0)).toBe(false);
    budget.change(undefined, 0);
    expect(budget.current.tokens(0)).toBe(2);
    expect(budget.current.tryRetry(0)).toBe(true);
  });

  it('includes refilled retry tokens in the share that is kept when a throttle replaces the default budget', () => {
    const budget = new LiveBudget(undefined);
    for (let i = 0; i < 10; i++) budget.current.tryRetry(0);
    budget.change({ maxTokens: 100, tokenRatio: 1 }, 60_000);
    expect(budget.current.tokens(60_000)).toBeCloseTo(30, 6);
  });

  it('does not return the retry tokens withheld by a stall when a throttle replaces the default budget', () => {
    const budget = new LiveBudget(undefined);
    budget.current.onDeadline(3_000, 1_000);
    budget.current.onDeadline(3_000, 1_000);
    budget.change({ maxTokens: 100, tokenRatio: 1 }, 3_000);
    expect(budget.current.tokens(3_000)).toBe(25);
    expect(budget.current.tryRetry(3_000)).toBe(false);
  });

  it('keeps the state of the retry budget if the new service config is equal', () => {
    const budget = new LiveBudget(undefined);
    // The first retry takes a token for this lost connection; later retries take none.
    const lostWith = { connection: {}, acceptsNoStreams: true };
    expect(budget.current.tryRetry(0, lostWith)).toBe(true);
    budget.change(undefined, 0);
    budget.current.tryRetry(0, lostWith);
    expect(budget.current.tokens(0)).toBe(9);
  });

  it('keeps the tokens of a retry budget between 0 and the maximum for any sequence of changes', () => {
    const throttling = fc.option(
      fc.record({
        maxTokens: fc.integer({ min: 1, max: 1_000 }),
        tokenRatio: fc.double({ min: 0.001, max: 5, noNaN: true }),
      }),
      { nil: undefined },
    );
    const step = fc.oneof(
      fc.record({ change: throttling }),
      fc.constantFrom('success' as const, 'failure' as const, 'retry' as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const budget = new LiveBudget(SAMPLE);
        let max = SAMPLE.maxTokens;
        steps.forEach((event, now) => {
          if (event === 'success') budget.current.onSuccess(now);
          else if (event === 'failure') budget.current.onFailure();
          else if (event === 'retry') budget.current.tryRetry(now);
          else {
            budget.change(event.change, now);
            max = event.change?.maxTokens ?? 10;
          }
          expect(budget.current.tokens(now)).toBeGreaterThanOrEqual(0);
          expect(budget.current.tokens(now)).toBeLessThanOrEqual(max);
        });
      }),
    );
  });
});
