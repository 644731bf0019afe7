import { maskCredentials } from '../../errors/error-message.js';

/** Matches names that end like the name of a secret: 'x-api-key', 'accessToken', 'DB_PASSWORD'. */
const SECRET_NAME =
  /(?:authorization|cookies?|token|passw(?:or)?d|passphrase|pwd|secret|credentials?|session[-_]?id|(?:api|access|private|secret)[-_]?key)$/i;
const HEADER_NAME = /(?:authorization|cookies?)$/i;

/** Matches a name and the separator before its value, in headers, query strings, JSON, and JSON nested in JSON strings. */
const NAMED_VALUE = /(?<![\w-])([\w-]+)(?:\\*["'])?\s*[:=]\s*/g;
/** Matches a header value: an optional scheme, a value, and further parts, as in cookies and Digest credentials. */
const HEADER_VALUE =
  /(?:[^\s,;"]|"[^"]*(?:"|$))+(?: +(?:[^\s,;"]|"[^"]*(?:"|$))+)?(?:[,;]\s*[\w.-]+=(?:[^\s,;"]|"[^"]*(?:"|$))*)*/y;
/**
 * Matches the start of this library's description of an invalid metadata value. The description replaces the value, so it is not masked.
 */
const PROBLEM = /expected (?:printable ASCII|a (?:Buffer|string|key)\b)/y;
const PLAIN_VALUE = /[^\s,;]+/y;
/** Matches a value in quotes, up to the next unescaped quote of the same kind or the end of the text. */
const QUOTED_VALUE = /(["'`])(?:(?!\1)[^\\]|\\[\s\S])*/y;
const NESTED_QUOTED_VALUE = /\\+(["'`])(?:(?!\1)[\s\S])*/y;
const LIST_VALUE = /\[[^\]]*/y;

const SECRET_PATTERNS: readonly (readonly [RegExp, string])[] = [
  // grpc-js error messages quote invalid metadata values without escaping the quotes inside.
  [/(\bMetadata (?:string )?value ")[\s\S]*?(?=" contains illegal characters|$)/g, '$1***'],
  [/(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[\s\S]*?(?=-----END|$)/g, '$1***'],
  [/\b(Bearer|Basic)(\s+)[^\s"',;]+/gi, '$1$2***'],
  // JWTs
  [/\beyJ[\w-]+(?:\.[\w-]*){0,4}/g, '***'],
];

/**
 * Returns `text` with recognizable secrets masked. Log lines contain no metadata values, but an error from an interceptor may quote a
 * header. Runs in linear time for any input, because no pattern rescans text that it has already matched.
 *
 * @param isCut true if `text` was truncated. A URL at the end of `text` then needs no '@' to be masked: the '@' may be in the missing part,
 *   and the visible part may include credentials.
 */
export function maskSecrets(text: string, isCut = false): string {
  const known = SECRET_PATTERNS.reduce((rest, [secret, mask]) => rest.replace(secret, mask), text);
  return maskNamedValues(maskCredentials(known, isCut));
}

function maskNamedValues(text: string): string {
  let shown = '';
  let from = 0;
  NAMED_VALUE.lastIndex = 0;
  for (let named = NAMED_VALUE.exec(text); named !== null; named = NAMED_VALUE.exec(text)) {
    const name = named[1] ?? '';
    if (!SECRET_NAME.test(name)) continue;
    const at = NAMED_VALUE.lastIndex;
    PROBLEM.lastIndex = at;
    if (PROBLEM.test(text)) continue;
    const [begin, end] = valueAt(text, at, HEADER_NAME.test(name));
    if (end === begin) continue;
    shown += `${text.slice(from, begin)}***`;
    from = end;
    NAMED_VALUE.lastIndex = end;
  }
  return shown + text.slice(from);
}

function valueAt(text: string, at: number, isHeader: boolean): readonly [begin: number, end: number] {
  for (const form of [NESTED_QUOTED_VALUE, QUOTED_VALUE, LIST_VALUE, isHeader ? HEADER_VALUE : PLAIN_VALUE]) {
    form.lastIndex = at;
    const found = form.exec(text);
    if (found === null) continue;
    const quote = found[1];
    // Both quotes stay visible.
    const begin = quote === undefined ? at : at + found[0].indexOf(quote) + 1;
    return [begin, Math.max(begin, form.lastIndex)];
  }
  return [at, at];
}
