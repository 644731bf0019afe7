import { CONNECT_FAILURES, type ConnectFailureKind } from '../policy/connect-failure/connect-failures.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { styleText } from 'node:util';
import { maskAddress } from '../errors/error-message.js';
import { maskSecrets, counted, oneLine } from '../telemetry/log/log-text.js';

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
  | 'service-config';

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

export type Checks<T = void> = AsyncGenerator<CheckResult, T>;

export type Paint = (color: 'green' | 'yellow' | 'red' | 'dim', text: string) => string;

export const plainPaint: Paint = (_color, text) => text;

export const terminalPaint: Paint = (color, text) => styleText(color, text, { validateStream: false });

const STATUS_LABELS = {
  ok: ['ok', 'green'],
  warning: ['warn', 'yellow'],
  failed: ['FAIL', 'red'],
  skipped: ['-', 'dim'],
} as const;

/** Maximum number of problems shown per check, and of entries in a JSON list other than `checks`. */
const MAX_LISTED = 50;
/** Maximum length in characters of a string in JSON, and of a remedy, which may be a command. */
const MAX_CHARACTERS = 2_000;
const LABEL_WIDTH = 4;
const NAME_WIDTH = 'service-config'.length;
const INDENT = ' '.repeat(LABEL_WIDTH + 2 + NAME_WIDTH + 2);

/** Renders a check as one line with its status, name, and finding, followed by its problems and remedy. */
export function renderCheck(result: CheckResult, paint: Paint): string {
  const { check, status, remedy, problems = [] } = result;
  const [label, color] = STATUS_LABELS[status];
  // Control characters are escaped, because text from servers, name servers, and files may contain terminal escape sequences.
  const message = oneLine(result.message);
  const found = status === 'skipped' ? paint('dim', message) : message;
  const lines = [`${paint(color, label.padEnd(LABEL_WIDTH))}  ${check.padEnd(NAME_WIDTH)}  ${found}`];
  for (const problem of problems.slice(0, MAX_LISTED))
    lines.push(`${INDENT}${oneLine(problem.path)}: ${oneLine(problem.message)}`);
  if (problems.length > MAX_LISTED) lines.push(`${INDENT}and ${String(problems.length - MAX_LISTED)} more`);
  if (remedy !== undefined) lines.push(`${INDENT}-> ${oneLine(remedy, MAX_CHARACTERS)}`);
  return `${lines.join('\n')}\n`;
}

export function renderSummary(results: readonly CheckResult[], paint: Paint): string {
  const count = (status: CheckResult['status']) => results.filter((result) => result.status === status).length;
  const parts = [`${String(count('ok'))} ok`];
  if (count('warning') > 0) parts.push(paint('yellow', counted(count('warning'), 'warning')));
  if (count('failed') > 0) parts.push(paint('red', `${String(count('failed'))} failed`));
  return `\n${parts.join(', ')}\n`;
}

/** The document that `--json` prints. Within a version, properties can be added, but none is removed or changes its meaning. */
export interface DoctorReport {
  readonly version: 1;
  /** Target of the checks; absent if no target was given, or if the arguments are invalid. */
  readonly target?: string | undefined;
  /** True if the arguments are valid, no check failed, and no error ended the doctor. */
  readonly ok: boolean;
  readonly exitCode: number;
  /** Invalid arguments, or the error that ended the doctor. */
  readonly problems: readonly ConfigurationProblem[];
  readonly checks: readonly CheckResult[];
}

/** Keys whose value is only an address. `maskAddress` would mask words in other text, such as '10:30: ops@shop.example'. */
const ADDRESS_KEYS: ReadonlySet<string> = new Set(['target', 'address', 'proxy']);

export function renderJson(report: DoctorReport): string {
  return `${JSON.stringify(report, bounded)}\n`;
}

/**
 * Limits lengths and masks credentials. Text from servers, name servers, and files may have any length and contain secrets, and a target
 * may contain a password.
 */
function bounded(key: string, value: unknown): unknown {
  if (Array.isArray(value) && key !== 'checks') return value.slice(0, MAX_LISTED) as unknown[];
  if (typeof value !== 'string') return value;
  const isCut = value.length > MAX_CHARACTERS;
  const text = isCut ? `${value.slice(0, MAX_CHARACTERS)}…` : value;
  return ADDRESS_KEYS.has(key) ? maskAddress(text, isCut) : maskSecrets(text, isCut);
}
