import { maskCredentials } from '../../errors/mask-credentials.js';

/** What a secret is called by, at the end of a name: 'x-api-key', 'accessToken', 'DB_PASSWORD'. */
const SECRET_NAME =
  /(?:authorization|cookies?|token|passw(?:or)?d|passphrase|pwd|secret|credentials?|session[-_]?id|(?:api|access|private|secret)[-_]?key)$/i;
const HEADER_NAME = /(?:authorization|cookies?)$/i;

/** A name and what stands between it and its value, in a header, a query, JSON, also JSON within JSON. */
const NAMED = /(?<![\w-])([\w-]+)(?:\\*["'])?\s*[:=]\s*/g;
/** In a header: a scheme (any), its value, and further parts of it, as of a cookie and of Digest. */
const HEADER_VALUE =
  /(?:[^\s,;"]|"[^"]*(?:"|$))+(?: +(?:[^\s,;"]|"[^"]*(?:"|$))+)?(?:[,;]\s*[\w.-]+=(?:[^\s,;"]|"[^"]*(?:"|$))*)*/y;
const VALUE = /[^\s,;]+/y;
/** Quoted, to the same quote or the end: a quote that is escaped ends it where the one that begins it is escaped as well. */
const QUOTED = /(["'`])(?:(?!\1)[^\\]|\\[\s\S])*/y;
const QUOTED_IN_QUOTES = /\\+(["'`])(?:(?!\1)[\s\S])*/y;
const LISTED = /\[[^\]]*/y;

/** Secrets that are known by their own look. */
const KNOWN: readonly (readonly [RegExp, string])[] = [
  // grpc-js quotes a value that it cannot send, quotes in it as they are.
  [/(\bMetadata (?:string )?value ")[\s\S]*?(?=" contains illegal characters|$)/g, '$1***'],
  [/(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----)[\s\S]*?(?=-----END|$)/g, '$1***'],
  [/\b(Bearer|Basic)(\s+)[^\s"',;]+/gi, '$1$2***'],
  // A token of its own (JWT).
  [/\beyJ[\w-]+(?:\.[\w-]*){0,4}/g, '***'],
];

/**
 * `text` with its secrets masked, as far as they can be told: no line has values of metadata, but an error of an interceptor may quote
 * a header. Its time grows as the text does, whatever that is made of: no pattern begins again within what it has read.
 *
 * @param isCut the text went on: what a URL at its end would show behind that may be an '@'
 */
export function masked(text: string, isCut = false): string {
  const known = KNOWN.reduce((rest, [secret, mask]) => rest.replace(secret, mask), text);
  return withoutNamed(maskCredentials(known, isCut));
}

function withoutNamed(text: string): string {
  let shown = '';
  let from = 0;
  NAMED.lastIndex = 0;
  for (let named = NAMED.exec(text); named !== null; named = NAMED.exec(text)) {
    const name = named[1] ?? '';
    if (!SECRET_NAME.test(name)) continue;
    const at = NAMED.lastIndex;
    const [begin, end] = valueAt(text, at, HEADER_NAME.test(name));
    if (end === begin) continue;
    shown += `${text.slice(from, begin)}***`;
    from = end;
    NAMED.lastIndex = end;
  }
  return shown + text.slice(from);
}

/** Where what is to be masked of the value that begins at `at` begins and ends. */
function valueAt(text: string, at: number, isHeader: boolean): readonly [begin: number, end: number] {
  for (const form of [QUOTED_IN_QUOTES, QUOTED, LISTED, isHeader ? HEADER_VALUE : VALUE]) {
    form.lastIndex = at;
    const found = form.exec(text);
    if (found === null) continue;
    const quote = found[1];
    // The quote that begins it stays, as the one that ends it does.
    const begin = quote === undefined ? at : at + found[0].indexOf(quote) + 1;
    return [begin, Math.max(begin, form.lastIndex)];
  }
  return [at, at];
}
