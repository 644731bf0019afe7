import { maskAddress, maskCredentials } from '../../errors/mask-credentials.js';

/** Something that is wrong with an option, and where. */
export interface Problem {
  /** 'clients.orders.serviceConfig.methodConfig[0].retryPolicy.maxAttempts' */
  readonly path: string;
  /** What was expected, what was found, and what to write where that is not plain: 'expected …, got …; write …'. */
  readonly message: string;
}

/** Problems of one document that are listed. */
const MAX_PROBLEMS = 100;

/** Collects the problems of a document, so that all of them can be corrected at once. Lists 100 and counts the others. */
export class Problems {
  readonly #list: Problem[] = [];
  #more = 0;
  #pathOfMore = '';

  get list(): readonly Problem[] {
    if (this.#more === 0) return this.#list;
    return [...this.#list, { path: this.#pathOfMore, message: `is one of ${String(this.#more)} more problems` }];
  }

  get none(): boolean {
    return this.#list.length === 0;
  }

  add(path: string, expected: string, found: unknown, write?: string): void {
    this.say(path, `expected ${expected}, got ${show(found)}${write === undefined ? '' : `; write ${write}`}`);
  }

  say(path: string, message: string): void {
    if (this.#list.length < MAX_PROBLEMS) this.#list.push({ path, message });
    else if (++this.#more === 1) this.#pathOfMore = path;
  }
}

const LONGEST = 60;

/** A value as it stands in a message: JSON, cut where it is long; 'nothing' for what is absent. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint' || typeof value === 'symbol' || typeof value === 'number') return String(value);
  if (typeof value === 'string')
    return cut(JSON.stringify(maskAddress(value.slice(0, LONGEST), value.length > LONGEST)));
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // A cycle, a bigint, a getter that throws.
  }
  return text === undefined ? 'an object that is no JSON' : cut(maskCredentials(text));
}

/** `text`, cut if it is long. */
export function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

/** Path of a key: what is no plain name stands in brackets. */
export function at(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  const shown = cut(key);
  if (!/^[\w$]+$/.test(shown)) return `${path}[${JSON.stringify(shown)}]`;
  return path === '' ? shown : `${path}.${shown}`;
}
