import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HedgeBudget } from './hedge-budget.js';

describe('HedgeBudget', () => {
  it('starts with a full hedge budget, so that even a client with few calls can hedge', () => {
    expect(new HedgeBudget()).toMatchObject({ allows: true, tokens: 5, maxTokens: 5 });
  });

  it('allows exactly one hedge per twenty calls after the first five hedges', () => {
    const budget = new HedgeBudget();
    for (let i = 0; i < 5; i++) budget.onHedge();
    for (let i = 0; i < 19; i++) budget.onCall();
    expect(budget.allows).toBe(false);
    budget.onCall();
    expect(budget).toMatchObject({ allows: true, tokens: 1 });
  });

  it('keeps the number of hedge tokens between 0 and maxTokens', () => {
    const budget = new HedgeBudget({ perCall: 0.05, maxTokens: 2 });
    for (let i = 0; i < 100; i++) budget.onCall();
    expect(budget.tokens).toBe(2);
    for (let i = 0; i < 100; i++) budget.onHedge();
    expect(budget.tokens).toBe(0);
  });

  it('allows hedges for at most a twentieth of the calls plus five, whatever the order of calls and hedges', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { maxLength: 2_000 }), (events) => {
        const budget = new HedgeBudget();
        let calls = 0;
        let hedges = 0;
        for (const isCall of events) {
          if (isCall) {
            calls++;
            budget.onCall();
          } else if (budget.allows) {
            hedges++;
            budget.onHedge();
          }
        }
        expect(hedges).toBeLessThanOrEqual(0.05 * calls + 5);
      }),
    );
  });
});
