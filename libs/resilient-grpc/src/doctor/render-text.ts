import { styleText } from 'node:util';
import { counted, oneLine } from '../telemetry/log/log-text.js';
import type { CheckResult } from './check-result.js';

/** Colors a text, or returns it unchanged. */
export type Paint = (colour: 'green' | 'yellow' | 'red' | 'dim', text: string) => string;

/** Does not color text. For files, pipes, and terminals without colors. */
export const plainPaint: Paint = (_colour, text) => text;

/** Colors text for a terminal. */
export const terminalPaint: Paint = (colour, text) => styleText(colour, text, { validateStream: false });

const WORDS = {
  ok: ['ok', 'green'],
  warning: ['warn', 'yellow'],
  failed: ['FAIL', 'red'],
  skipped: ['-', 'dim'],
} as const;

/** Maximum number of problems shown per check. */
const MAX_PROBLEMS = 50;
const WORD_WIDTH = 4;
const NAME_WIDTH = 'service-config'.length;
const INDENT = ' '.repeat(WORD_WIDTH + 2 + NAME_WIDTH + 2);

/** Renders a check as one line with its status, name, and finding, followed by its problems and remedy. */
export function renderCheck({ check, status, says, remedy, problems = [] }: CheckResult, paint: Paint): string {
  const [word, colour] = WORDS[status];
  const found = status === 'skipped' ? paint('dim', shown(says)) : shown(says);
  const lines = [`${paint(colour, word.padEnd(WORD_WIDTH))}  ${check.padEnd(NAME_WIDTH)}  ${found}`];
  for (const { path, message } of problems.slice(0, MAX_PROBLEMS))
    lines.push(`${INDENT}${shown(path)}: ${shown(message)}`);
  if (problems.length > MAX_PROBLEMS) lines.push(`${INDENT}and ${String(problems.length - MAX_PROBLEMS)} more`);
  if (remedy !== undefined) lines.push(`${INDENT}-> ${shown(remedy)}`);
  return `${lines.join('\n')}\n`;
}

/** Renders the last line: the number of results by status. */
export function renderSummary(results: readonly CheckResult[], paint: Paint): string {
  const count = (status: CheckResult['status']) => results.filter((result) => result.status === status).length;
  const parts = [`${String(count('ok'))} ok`];
  if (count('warning') > 0) parts.push(paint('yellow', counted(count('warning'), 'warning')));
  if (count('failed') > 0) parts.push(paint('red', `${String(count('failed'))} failed`));
  return `\n${parts.join(', ')}\n`;
}

/** Escapes control characters: text from servers, name servers, and files may contain terminal escape sequences. */
function shown(text: string): string {
  return oneLine(text);
}
