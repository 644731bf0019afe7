import type { CheckResult } from './check-result.js';

/** All of it as one object on one line. */
export function renderJson(target: string | undefined, results: readonly CheckResult[]): string {
  const ok = !results.some(({ status }) => status === 'failed');
  return `${JSON.stringify({ target, ok, checks: results })}\n`;
}
