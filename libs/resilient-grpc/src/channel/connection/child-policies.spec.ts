import { expect, it } from 'vitest';
import { childPolicies } from './load-balancing-policy.js';

it('replaces outlier detection with its child policies if unsupported names, such as toString, precede it', () => {
  const policies: Record<string, unknown>[] = [
    { toString: {} },
    { outlier_detection: { childPolicy: [{ round_robin: {} }] } },
  ];
  expect(childPolicies(policies)).toEqual({
    policies: [{ round_robin: {} }],
    ejection: expect.objectContaining({ intervalMs: 10_000 }),
  });
});
