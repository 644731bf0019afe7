import { expect, it } from 'vitest';
import { renderJson } from './check-result.js';

const rendered = (message: string, facts: Readonly<Record<string, unknown>> = {}, target = 'orders:50051') => {
  const checks = [{ check: 'health', status: 'failed', message, facts } as const];
  const json = renderJson({ version: 1, target, ok: false, exitCode: 1, problems: [], checks });
  return JSON.parse(json) as { readonly target: string; readonly checks: readonly [(typeof checks)[0]] };
};

it('leaves a doctor message with an @ after a colon unchanged in JSON', () => {
  const message = 'UNKNOWN: database of ops@shop.example is down';
  expect(rendered(message).checks[0].message).toBe(message);
});

it("masks the same secrets in the doctor's JSON as in its text", () => {
  const details = 'see https://me:sesame@shop.example, invalid header authorization: Bearer sesame';
  const json = rendered(details, { details, problems: [{ path: 'x', message: details }] });
  expect(JSON.stringify(json)).not.toContain('sesame');
  expect(json.checks[0].facts['details']).toBe('see https://***@shop.example, invalid header authorization: ***');
});

it("masks the user and password in an address without a scheme in the doctor's JSON", () => {
  const address = 'app:sesame@orders:50051';
  const json = rendered('x', { address, target: address, proxy: address }, address);
  expect(json.target).toBe('***@orders:50051');
  expect(json.checks[0].facts).toEqual({ address: json.target, target: json.target, proxy: json.target });
});
