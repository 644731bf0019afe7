import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { maskCredentials, errorMessage } from '../../errors/error-message.js';
import { isPlainObject, truncate } from '../../policy/options/describe-value.js';

/** Options as plain data, or the reason why they cannot be read. */
export type CopiedOptions =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

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
  try {
    return { ok: true, value: copied(options, true) };
  } catch (error) {
    // A getter or a proxy threw, or the options contain themselves.
    return { ok: false, problems: [unreadable(path, error)] };
  }
}

/** Creates the problem for options at `path` that threw `error` while they were read or used. */
export function unreadable(path: string, error: unknown): ConfigurationProblem {
  return { path, message: `cannot be read: ${errorText(error)}; write plain values` };
}

function copied(value: unknown, isRoot = false): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((entry) => copied(entry));
  const isPlain = isPlainObject(value);
  if (!isPlain && !isRoot) return value;
  // Uses Object.fromEntries(), because it defines an own property even for the key '__proto__'; an assignment would set the prototype.
  return Object.fromEntries(
    (isPlain ? Object.keys(value) : keysOfInstance(value)).map((key) => {
      const entry: unknown = Reflect.get(value, key);
      if (UNCOPIED_KEYS.has(key)) return [key, entry];
      return [key, UNCOPIED_ELEMENT_KEYS.has(key) && Array.isArray(entry) ? [...(entry as unknown[])] : copied(entry)];
    }),
  );
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

function errorText(error: unknown): string {
  try {
    return truncate(maskCredentials(errorMessage(error)), 200);
  } catch {
    return 'an unreadable error';
  }
}
