import { escapeControls } from '../../errors/error-message.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { describeValue } from '../options/describe-value.js';

/** Maximum length of a service config: of its text, or of all its keys and strings together. */
export const MAX_CONFIG_CHARACTERS = 1_048_576;
/** Maximum number of values in a service config, at all depths together. */
export const MAX_CONFIG_VALUES = 100_000;
/** Maximum nesting depth of objects and lists. */
export const MAX_CONFIG_DEPTH = 32;
const TOO_MANY_VALUES = `at most ${String(MAX_CONFIG_VALUES)} values`;

/**
 * Returns `value`, or the document that it contains as JSON text. Fails if the text is not JSON, or if the document exceeds a bound.
 * `expected` is part of the message for text that is not JSON.
 */
export function readDocument(
  value: unknown,
  path: string,
  expected: string,
):
  | { readonly ok: true; readonly document: unknown }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] } {
  const failed = (message: string) => ({ ok: false, problems: [{ path, message }] }) as const;
  let document = value;
  if (typeof value === 'string') {
    if (value.length > MAX_CONFIG_CHARACTERS) {
      const limit = String(MAX_CONFIG_CHARACTERS);
      return failed(`expected a service config with at most ${limit} characters, got ${String(value.length)}`);
    }
    try {
      document = JSON.parse(value);
    } catch (error) {
      return failed(`expected ${expected} (${escapeControls(String(error))}), got ${describeValue(value)}`);
    }
  }
  const bound = exceededBound(document);
  if (bound === undefined) return { ok: true, document };
  return failed(`expected a service config with ${bound}, got more`);
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
      // Checked before Object.entries(), which takes more than a second for a Buffer of 1 MB.
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
