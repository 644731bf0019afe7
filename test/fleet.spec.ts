import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

function simulate(...options: readonly string[]): string {
  const main = new URL('../bench/simulation/main.mjs', import.meta.url).pathname;
  return execFileSync(process.execPath, [main, 'outage', '--json', '--seconds', '60', ...options], {
    encoding: 'utf8',
  });
}

it('a simulated fleet of ours bears a total outage as it must, and another with the same seed is the same', () => {
  const small = ['--clients', '20', '--rate', '50', '--seed', '3'];
  const text = simulate(...small);
  expect(simulate(...small)).toBe(text);
  const { policies, ...rest } = JSON.parse(text);
  expect(rest).toEqual({ scenario: 'outage', clients: 20 });
  const figures = {
    amplification: expect.any(Number),
    peakLoadRatio: expect.any(Number),
    goodput: expect.any(Number),
    newCallsFailed: expect.any(Number),
  };
  expect(policies).toEqual([
    { name: 'resilient-grpc', recoverySeconds: expect.any(Number), ...figures },
    { name: 'retry-without-budget', recoverySeconds: null, ...figures },
    { name: 'grpc-js', recoverySeconds: null, ...figures },
    { name: 'no-retry', recoverySeconds: expect.any(Number), ...figures },
  ]);
  const [ours, unbounded] = policies;
  expect(ours.amplification).toBeLessThanOrEqual(1.1);
  expect(ours.peakLoadRatio).toBeLessThanOrEqual(1.6);
  expect(ours.newCallsFailed).toBeLessThanOrEqual(0.001);
  expect(unbounded.amplification).toBeGreaterThan(3.5);
});
