import type { Problems } from './problem.js';

/** Characters of a service config: of its text, or of all its keys and strings together. */
export const MAX_CONFIG_CHARACTERS = 1_048_576;
/** Values in a service config, at all depths together. */
export const MAX_CONFIG_VALUES = 100_000;
/** Objects and lists inside one another. */
export const MAX_CONFIG_DEPTH = 32;
const TOO_MANY_VALUES = `at most ${String(MAX_CONFIG_VALUES)} values`;

/** Adds a problem if `text` is too long to be parsed. Returns false then. */
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
 * The bound that `document` exceeds, for "expected a service config with …"; `undefined` if it exceeds none. A document from outside
 * must not take time or memory without limit, nor overflow the stack of what reads it.
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
      // Of a Buffer of 1 MB alone, Object.entries() takes more than a second.
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
