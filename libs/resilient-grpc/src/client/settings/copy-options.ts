import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { maskCredentials, errorMessage } from '../../errors/error-message.js';
import { isPlainObject, truncate } from '../../policy/options/describe-value.js';

/** Keys whose values are not copied, because their identity matters or another check reads them. */
const UNCOPIED_KEYS: ReadonlySet<string> = new Set(['packageDefinition', 'credentials']);
/** Keys of arrays whose elements are not copied, because their identity or state matters. */
const UNCOPIED_ELEMENT_KEYS: ReadonlySet<string> = new Set(['interceptors', 'imports', 'guards']);
/** Options that are functions, which a class may declare as methods. */
const METHODS: ReadonlySet<string> = new Set(['metadata', 'onLoadPackageDefinition', 'useFactory']);

/**
 * Copies options to plain data, so that later changes of the object have no effect. Reads getters of a class, too. Class instances below
 * the root (Metadata, Buffer, Observable) are not copied.
 */
export function copyOptions(options: unknown): unknown {
  return copied(options, true);
}

/** Creates the problem for options at `path` that threw `error` while they were used. */
export function unreadable(path: string, error: unknown): ConfigurationProblem {
  return {
    path,
    message: `cannot be read: ${truncate(maskCredentials(errorMessage(error)), 200)}; write plain values`,
  };
}

function copied(value: unknown, isRoot: boolean): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map((entry) => copied(entry, false));
  const isPlain = isPlainObject(value);
  if (!isPlain && !isRoot) return value;
  // Uses Object.fromEntries(), because it defines an own property even for the key '__proto__'; an assignment would set the prototype.
  return Object.fromEntries(
    (isPlain ? Object.keys(value) : keysOfInstance(value)).map((key) => {
      const entry: unknown = Reflect.get(value, key);
      if (UNCOPIED_KEYS.has(key)) return [key, entry];
      return [
        key,
        UNCOPIED_ELEMENT_KEYS.has(key) && Array.isArray(entry) ? [...(entry as unknown[])] : copied(entry, false),
      ];
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
