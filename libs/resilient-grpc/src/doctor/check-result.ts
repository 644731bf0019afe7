import type { Problem } from '../policy/service-config/problem.js';

/** What was looked at. */
export type CheckName =
  | 'target'
  | 'proxy'
  | 'address'
  | 'certificate'
  | 'client'
  | 'health'
  | 'reflection'
  | 'keepalive'
  | 'dns-config'
  | 'service-config'
  | 'shutdown';

/** What came of one check, for people (`says`, `remedy`) and for programs (`facts`). */
export interface CheckResult {
  readonly check: CheckName;
  /** `skipped`: it could not be made, or there was nothing to look at. */
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  /** What was found, in one sentence. */
  readonly says: string;
  /** What to do about it. */
  readonly remedy?: string;
  /** All that is wrong with a document, each with its place. */
  readonly problems?: readonly Problem[];
  readonly facts: Readonly<Record<string, unknown>>;
}

/** Checks, each told as soon as it is known. */
export type Checks<T = void> = AsyncGenerator<CheckResult, T>;
