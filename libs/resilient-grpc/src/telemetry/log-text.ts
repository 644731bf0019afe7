const LONGEST = 300;

/** A text of the other side as it may stand in a log: cut, without what would begin a line or colour a terminal, secrets masked. */
export function oneLine(text: string): string {
  // Cut first, as what is masked takes time; a secret that is cut is masked all the same.
  const cut = text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  const escaped = masked(cut).replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]/g, (character) => {
    return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  });
  return escaped.length > LONGEST ? `${escaped.slice(0, LONGEST)}…` : escaped;
}

/**
 * What looks like a secret in a text that was written elsewhere: no line has values of metadata, but an error of an interceptor may
 * quote a header, and grpc-js quotes a value that it cannot send.
 */
const SECRETS: readonly (readonly [RegExp, string])[] = [
  [/(\bMetadata (?:string )?value ")[^"]*/g, '$1***'],
  [/\b(Bearer|Basic)(\s+)[^\s"',;]+/gi, '$1$2***'],
  // A token of its own (JWT).
  [/\beyJ[\w-]+(?:\.[\w-]*){0,4}/g, '***'],
  [
    /\b([\w-]*(?:authorization|cookie|api[-_]?key|token|password|secret)"?\s*[:=]\s*"?)(?!Bearer|Basic)[^\s"',;]+/gi,
    '$1***',
  ],
  [/(:\/\/)[^\s/@]+@/g, '$1***@'],
];

/** `text` with its secrets masked, as far as they can be told. */
export function masked(text: string): string {
  return SECRETS.reduce((rest, [secret, mask]) => rest.replace(secret, mask), text);
}

/** '80 ms', '5.1 s', '125 s' */
export function duration(ms: number): string {
  if (ms < 1_000) return `${ms.toFixed(0)} ms`;
  return `${(ms / 1_000).toFixed(ms < 100_000 ? 1 : 0)} s`.replace('.0 s', ' s');
}

/** '1 call', '2 calls' */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${String(count)} ${count === 1 ? one : many}`;
}
