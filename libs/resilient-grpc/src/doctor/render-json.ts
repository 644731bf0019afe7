import { maskAddress } from '../errors/mask-credentials.js';
import type { CheckResult } from './check-result.js';

const MAX_CHARACTERS = 2_000;
const MAX_ENTRIES = 50;

/** Renders all results as one JSON object on one line. */
export function renderJson(target: string | undefined, results: readonly CheckResult[]): string {
  const ok = !results.some(({ status }) => status === 'failed');
  return `${JSON.stringify({ target, ok, checks: results }, bounded)}\n`;
}

/**
 * Limits lengths and masks credentials. Servers, name servers, and files may return any amount of text, and a target may contain a
 * password.
 */
function bounded(key: string, value: unknown): unknown {
  if (Array.isArray(value) && key !== 'checks') return value.slice(0, MAX_ENTRIES) as unknown[];
  if (typeof value !== 'string') return value;
  const isCut = value.length > MAX_CHARACTERS;
  return maskAddress(isCut ? `${value.slice(0, MAX_CHARACTERS)}…` : value, isCut);
}
