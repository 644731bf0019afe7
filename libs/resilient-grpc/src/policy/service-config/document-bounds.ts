import type { Problems } from './problem.js';

/** Maximum length of a service config: of its text, or of all its keys and strings together. */
export const MAX_CONFIG_CHARACTERS = 1_048_576;
/** Maximum number of values in a service config, at all depths together. */
export const MAX_CONFIG_VALUES = 100_000;
/** Maximum nesting depth of objects and lists. */
export const MAX_CONFIG_DEPTH = 32;
const TOO_MANY_VALUES = `at most ${String(MAX_CONFIG_VALUES)} values`;

/** Returns false, and adds a problem, if `text` is too long to be parsed. */
export function checkLength(text: string, path: string, problems: Problems): boolean {
  if (text.length <= MAX_CONFIG_CHARACTERS) return true;
  const most = String(MAX_CONFIG_CHARACTERS);
  problems.say(path, `expected a service config with at most ${most} characters, got ${String(text.length)}`);
  return false;
}

/** Adds a problem if `document` exceeds a bound. */
export function checkBounds(document: unknown, path: string, problems: Problems): void {
  const bound = exceededBound(document);
  if (bound !== undefined) problems.say(path, `expected a service config with ${bound}, got more; make it smaller`);
}

/**
 * Returns the bound that `document` exceeds, for "expected a service config with …", or `undefined` if it exceeds none. An external
 * document must not take unlimited time or memory, or overflow the stack of its parser.
 */
export function exceededBound(document: unknown): string | undefined {
  let characters = 0;
  let values = 0;
  const unread: { readonly value: unknown; readonly depth: number }[] = [{ value: document, depth: 0 }];
  for (let next = unread.pop(); next !== undefined; next = unread.pop()) {
    const { value, depth } = next;
    values += 1;
    if (typeof value === 'string') characters += value.length;
    if (typeof value === 'object' && value !== null) {
      if (depth >= MAX_CONFIG_DEPTH) return `a depth of at most ${String(MAX_CONFIG_DEPTH)}`;
      // Object.entries() takes more than a second for a Buffer of 1 MB.
      const length = Array.isArray(value) ? value.length : ArrayBuffer.isView(value) ? value.byteLength : 0;
      if (values + unread.length + length > MAX_CONFIG_VALUES) return TOO_MANY_VALUES;
      for (const [key, inner] of Object.entries(value)) {
        characters += Array.isArray(value) ? 0 : key.length;
        unread.push({ value: inner, depth: depth + 1 });
      }
    }
    if (values + unread.length > MAX_CONFIG_VALUES) return TOO_MANY_VALUES;
    if (characters > MAX_CONFIG_CHARACTERS) return `at most ${String(MAX_CONFIG_CHARACTERS)} characters`;
  }
  return undefined;
}
