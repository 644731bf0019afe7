import { CONNECT_FAILURES, type ConnectFailureKind } from '../policy/connect-failure/connect-failures.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';

export type CheckName =
  | 'kubernetes'
  | 'target'
  | 'proxy'
  | 'address'
  | 'certificate'
  | 'client'
  | 'health'
  | 'reflection'
  | 'keepalive'
  | 'idle'
  | 'dns-config'
  | 'service-config'
  | 'shutdown';

export type Finding = readonly [message: string, remedy: string];

/** Returns the cause and the remedy that clients report for this kind of failure, with the doctor's equivalent option if there is one. */
export function findingOf(kind: ConnectFailureKind, detail?: string): Finding {
  const { cause, remedy, doctorOption } = CONNECT_FAILURES[kind];
  const more = detail === undefined ? '' : ` (${detail})`;
  return [`${cause}${more}`, doctorOption === undefined ? remedy : `${remedy} (here: ${doctorOption})`];
}

/** The result of one check, for people (`message`, `remedy`) and for programs (`facts`). */
export interface CheckResult {
  readonly check: CheckName;
  /** `skipped` means that the check was not possible or had nothing to check. */
  readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
  readonly message: string;
  readonly remedy?: string;
  /** All problems of the checked document or of the command-line arguments, each with its path. */
  readonly problems?: readonly ConfigurationProblem[];
  readonly facts: Readonly<Record<string, unknown>>;
}

export type Verdict = readonly [
  status: CheckResult['status'],
  message: string,
  remedy?: string,
  problems?: readonly ConfigurationProblem[],
];

/** Returns a function that creates the results of `check`, each with the same facts. */
export function resultsOf(check: CheckName, facts: CheckResult['facts'] = {}): (...verdict: Verdict) => CheckResult {
  return (status, message, remedy, problems) => ({
    check,
    status,
    message,
    ...(remedy !== undefined && { remedy }),
    ...(problems !== undefined && { problems }),
    facts,
  });
}

/** A sequence of check results, each yielded as soon as it is available. */
export type Checks<T = void> = AsyncGenerator<CheckResult, T>;
