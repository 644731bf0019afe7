import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { maskCredentials, errorMessage } from '../../errors/error-message.js';
import { pathOf } from '../../policy/options/describe-value.js';
import { isPlainObject } from '../../policy/options/plain-object.js';
import { MAX_ENTRIES } from '../../policy/options/value-rules.js';

/** Options as plain data, or the reasons why they cannot be read. */
export type CopiedOptions =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Maximum number of characters in one string. PEM bundles and service configs are the longest. */
const MAX_CHARACTERS = 2 ** 20;
/** Maximum depth of nested objects and arrays. A cycle exceeds it. */
const MAX_DEPTH = 16;
/** Maximum total number of values in the copied options. */
const MAX_VALUES = 100_000;
const MAX_PROBLEMS = 20;

/** Keys whose values are not copied, because their identity matters or another check reads them. */
const UNCOPIED_KEYS: ReadonlySet<string> = new Set(['packageDefinition', 'credentials']);
/** Keys of arrays whose elements are not copied, because their identity or state matters. */
const UNCOPIED_ELEMENT_KEYS: ReadonlySet<string> = new Set(['interceptors', 'imports', 'guards']);
/** Options that are functions, which a class may declare as methods. */
const METHODS: ReadonlySet<string> = new Set(['metadata', 'onLoadPackageDefinition', 'useFactory']);

/**
 * Copies options to plain data and reads each property once. Therefore, the validated values are the ones in use, even if a getter or a
 * proxy would return another value on a second read. Class instances below the root (Metadata, Buffer, Observable) are not copied.
 */
export function copyOptions(options: unknown, path: string): CopiedOptions {
  const copier = new OptionsCopier();
  const value = copier.read(options, path, 0);
  return copier.problems.length === 0 ? { ok: true, value } : { ok: false, problems: copier.problems };
}

/** Creates the problem for options at `path` that threw `error` while they were read or used. */
export function unreadable(path: string, error: unknown): ConfigurationProblem {
  return { path, message: `cannot be read: ${errorText(error)}; write plain values` };
}

class OptionsCopier {
  readonly problems: ConfigurationProblem[] = [];
  private values = 0;

  read(value: unknown, path: string, depth: number, keepElements = false): unknown {
    if (typeof value === 'string' && value.length > MAX_CHARACTERS)
      return this.refuse(path, `expected at most ${String(MAX_CHARACTERS)} characters, got ${String(value.length)}`);
    if (typeof value !== 'object' || value === null) return value;
    try {
      const isList = Array.isArray(value);
      if (!isList && depth > 0 && !isPlainObject(value)) return value;
      if (depth > MAX_DEPTH) return this.refuse(path, `expected at most ${String(MAX_DEPTH)} levels, got more`);
      // The cast is needed, because Array.isArray() narrows to `any[]`.
      return isList
        ? this.list(value as readonly unknown[], path, depth, keepElements)
        : this.object(value, path, depth);
    } catch (error) {
      this.problems.push(unreadable(path, error));
      return undefined;
    }
  }

  private list(value: readonly unknown[], path: string, depth: number, keepElements: boolean): unknown {
    const { length } = value;
    if (length > MAX_ENTRIES) return this.refuse(path, tooMany(length));
    if (!this.count(length, path)) return undefined;
    return Array.from({ length }, (_, index) =>
      this.property(value, index, pathOf(path, index), depth, keepElements ? 'keep' : 'read'),
    );
  }

  private object(value: object, path: string, depth: number): unknown {
    const keys = isPlainObject(value) ? Object.keys(value) : keysOfInstance(value);
    if (keys.length > MAX_ENTRIES) return this.refuse(path, tooMany(keys.length));
    if (!this.count(keys.length, path)) return undefined;
    // Uses Object.fromEntries(), because it defines an own property even for the key '__proto__'; an assignment would set the prototype.
    return Object.fromEntries(
      keys.map((key) => {
        const how = UNCOPIED_KEYS.has(key) ? 'keep' : UNCOPIED_ELEMENT_KEYS.has(key) ? 'keep-elements' : 'read';
        return [key, this.property(value, key, pathOf(path, key), depth, how)];
      }),
    );
  }

  private property(
    owner: object,
    key: string | number,
    path: string,
    depth: number,
    how: 'read' | 'keep' | 'keep-elements',
  ): unknown {
    if (this.problems.length >= MAX_PROBLEMS) return undefined;
    let value: unknown;
    try {
      value = Reflect.get(owner, key);
    } catch (error) {
      this.problems.push(unreadable(path, error));
      return undefined;
    }
    return how === 'keep' ? value : this.read(value, path, depth + 1, how === 'keep-elements');
  }

  private count(more: number, path: string): boolean {
    const wasExceeded = this.values > MAX_VALUES;
    this.values += more;
    if (this.values <= MAX_VALUES) return true;
    if (!wasExceeded) this.refuse(path, `expected at most ${String(MAX_VALUES)} values in total, got more`);
    return false;
  }

  private refuse(path: string, message: string): unknown {
    this.problems.push({ path, message });
    return undefined;
  }
}

/** Returns the own and inherited keys of an instance, including getters of its classes and those methods that `METHODS` contains. */
function keysOfInstance(value: object): string[] {
  const keys = new Set<string>();
  for (const key in value) keys.add(key);
  for (
    let type = Object.getPrototypeOf(value) as object;
    Object.getPrototypeOf(type) !== null;
    type = Object.getPrototypeOf(type) as object
  ) {
    for (const [key, property] of Object.entries(Object.getOwnPropertyDescriptors(type)))
      if ('get' in property || METHODS.has(key)) keys.add(key);
  }
  return [...keys];
}

function tooMany(count: number): string {
  return `expected at most ${String(MAX_ENTRIES)} entries, got ${String(count)}`;
}

const MAX_ERROR_LENGTH = 200;

function errorText(error: unknown): string {
  try {
    const text = maskCredentials(errorMessage(error));
    return text.length > MAX_ERROR_LENGTH ? `${text.slice(0, MAX_ERROR_LENGTH)}…` : text;
  } catch {
    return 'an unreadable error';
  }
}
