import { escapeControls, maskCredentials } from '../../errors/error-message.js';
import type { DrainReport } from '../../call/call-event.js';

const MAX_TEXT_LENGTH = 300;
/** Maximum number of characters searched for secrets. */
const MAX_SCANNED_LENGTH = 2_000;
const MAX_STACK_FRAMES = 20;

/**
 * Makes text from a peer safe to log: truncates it, masks secrets, and escapes control characters, which could start a line, color a
 * terminal, or reorder the line.
 *
 * @param maxLength maximum number of characters before the ellipsis
 */
export function oneLine(text: string, maxLength = MAX_TEXT_LENGTH): string {
  const isCut = text.length > MAX_SCANNED_LENGTH;
  const escaped = escapeControls(maskSecrets(isCut ? text.slice(0, MAX_SCANNED_LENGTH) : text, isCut));
  return isCut || escaped.length > maxLength ? `${escaped.slice(0, maxLength)}…` : escaped;
}

/** The error's `message` is removed from the stack, because it may contain client input, unescaped and of any length. */
export function stackOf(title: string, message: string, stack: string): string {
  const frames = stack
    .slice(Math.max(0, stack.indexOf(message)) + message.length)
    .slice(0, MAX_STACK_FRAMES * MAX_TEXT_LENGTH)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line.startsWith('at '))
    .slice(0, MAX_STACK_FRAMES);
  return [oneLine(title), ...frames.map((frame) => `    ${oneLine(frame)}`)].join('\n');
}

export function duration(ms: number): string {
  if (ms < 1_000) return `${ms.toFixed(0)} ms`;
  return `${(ms / 1_000).toFixed(ms < 100_000 ? 1 : 0)} s`.replace('.0 s', ' s');
}

export function counted(count: number, one: string, many = `${one}s`): string {
  return `${String(count)} ${count === 1 ? one : many}`;
}

/** Remedy for a client's response streams that delay a shutdown. */
export const COMPLETE_STREAMS = "set onDrain: 'complete' (the default in resumable) or 'fail'";

/** Lists the number of calls by method path, highest first: '2 calls to /orders.v1.Orders/Get, 1 call to /orders.v1.Orders/Watch'. */
export function callsByPath(counts: Iterable<readonly [path: string, count: number]>): string {
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const named = sorted.map(([path, count]) => `${counted(count, 'call')} to ${path}`);
  return listed(named, 5, 'more methods');
}

/** Lists the first `max` of `items`, and the number of the others. */
export function listed(items: readonly string[], max = 5, others = 'more'): string {
  const rest = items.length > max ? [`and ${String(items.length - max)} ${others}`] : [];
  return [...items.slice(0, max), ...rest].join(', ');
}

/** Describes what happened to the calls of clients during a drain. `when` is the time at which calls were cut off, if it is known. */
export function drainText(
  { finished, failed, completed, ended, cancelled, cutOffByPath }: Omit<DrainReport, 'durationMs'>,
  when = '',
): string {
  const open = callsByPath(Object.entries(cutOffByPath));
  return [
    `${counted(finished, 'call')} finished${failed > 0 ? ` (${String(failed)} failed)` : ''}`,
    `${counted(completed, 'stream')} completed`,
    ...(ended > 0 ? [`${String(ended)} ended by onDrain`] : []),
    `${String(cancelled)} cut off${open === '' ? '' : ` (${when}${open})`}`,
  ].join(', ');
}

/** Matches a value in quotes, up to the next unescaped quote of the same kind or the end of the text; in JSON within JSON; in a list. */
const QUOTED = String.raw`\\+["'\`][^"'\`]*|"[^"\\]*(?:\\[^][^"\\]*)*|'[^'\\]*(?:\\[^][^'\\]*)*|\`[^\`]*|\[[^\]]*`;
/** Matches the description of an invalid metadata value, which replaces the value. */
const PROBLEM = String.raw`expected (?:printable ASCII|a (?:Buffer|string|key)\b)`;

/** Matches names that end with one of `names`, and their values, in headers, query strings, and JSON. `rest`: a value without quotes. */
function named(names: string, rest: string): readonly [RegExp, string] {
  const before = String.raw`(?<![\w-])[\w-]*(?:${names})(?:\\*["'])?\s*[:=]\s*`;
  // Both quotes stay visible.
  return [new RegExp(`(${before})(?!${PROBLEM})(?=(\\\\*["'\`]?))(?:${QUOTED}|${rest})`, 'gi'), '$1$2***'];
}

const SECRETS =
  'token|passw(?:or)?d|passphrase|pwd|secret|credentials?|session[-_]?id|(?:api|access|private|secret)[-_]?key';

const SECRET_PATTERNS: readonly (readonly [RegExp, string])[] = [
  // grpc-js error messages quote invalid metadata values without escaping the quotes inside.
  [/(\bMetadata (?:string )?value ")[\s\S]*?(?=" contains illegal characters|$)/g, '$1***'],
  [/(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[\s\S]*?(?=-----END|$)/g, '$1***'],
  [/\b(Bearer|Basic)(\s+)[^\s"',;]+/gi, '$1$2***'],
  // JWTs
  [/\beyJ[\w-]+(?:\.[\w-]*){0,4}/g, '***'],
  // A header can have a value of several parts, such as a scheme and parameters, so the rest of its line is masked.
  named('authorization|cookies?', String.raw`\S[^\n]*`),
  named(SECRETS, String.raw`[^\s,;]+`),
];

/**
 * Returns `text` with recognizable secrets masked. Log lines contain no metadata values, but an error from an interceptor may quote a
 * header. Runs in linear time for any input, because no pattern rescans text that it has already matched.
 *
 * @param isCut true if `text` was truncated. A URL at the end of `text` then needs no '@' to be masked: the '@' may be in the missing part,
 *   and the visible part may include credentials.
 */
export function maskSecrets(text: string, isCut = false): string {
  const masked = SECRET_PATTERNS.reduce((rest, [secret, mask]) => rest.replace(secret, mask), text);
  return maskCredentials(masked, isCut);
}
