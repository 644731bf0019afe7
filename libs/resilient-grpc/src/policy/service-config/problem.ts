import { maskAddress, maskCredentials } from '../../errors/mask-credentials.js';

/** Something that is wrong with an option, and where. */
export interface Problem {
  /** 'clients.orders.serviceConfig.methodConfig[0].retryPolicy.maxAttempts' */
  readonly path: string;
  /** What was expected, what was found, and what to write where that is not plain: 'expected …, got …; write …'. */
  readonly message: string;
}

/** Gathers all problems of a document, as whoever mends one wants to see the others too. */
export class Problems {
  readonly #list: Problem[] = [];

  get list(): readonly Problem[] {
    return this.#list;
  }

  get none(): boolean {
    return this.#list.length === 0;
  }

  add(path: string, expected: string, found: unknown, write?: string): void {
    this.say(path, `expected ${expected}, got ${show(found)}${write === undefined ? '' : `; write ${write}`}`);
  }

  say(path: string, message: string): void {
    this.#list.push({ path, message });
  }
}

const LONGEST = 60;
const LONGEST_KEY = 200;

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

function cut(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 1)}…` : text;
}

/** Path of a key: what is no plain name stands in brackets. */
export function at(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  if (!/^[\w$]+$/.test(key))
    return `${path}[${JSON.stringify(key.length > LONGEST_KEY ? `${key.slice(0, LONGEST_KEY)}…` : key)}]`;
  return path === '' ? key : `${path}.${key}`;
}
