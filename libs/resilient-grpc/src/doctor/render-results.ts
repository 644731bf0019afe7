import { styleText } from 'node:util';
import { maskAddress } from '../errors/error-message.js';
import { maskSecrets } from '../telemetry/log/mask-secrets.js';
import { counted, oneLine } from '../telemetry/log/log-text.js';
import { problemCount, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import type { CheckResult } from './check-result.js';

export type Paint = (color: 'green' | 'yellow' | 'red' | 'dim', text: string) => string;

/** Returns text unchanged, for files, pipes, and terminals without colors. */
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
/** Maximum length in characters of a string in JSON, and of a remedy, which may be a command with a manifest. */
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
  if (problems.length > MAX_LISTED) lines.push(`${INDENT}and ${String(problemCount(problems) - MAX_LISTED)} more`);
  if (remedy !== undefined) lines.push(`${INDENT}-> ${oneLine(remedy, MAX_CHARACTERS)}`);
  return `${lines.join('\n')}\n`;
}

/** Renders the last line: the number of results by status, without skipped checks. */
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
