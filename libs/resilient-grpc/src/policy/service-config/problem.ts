import { maskAddress, maskCredentials } from '../../errors/mask-credentials.js';

/** Problem of one option, with its path. */
export interface Problem {
  /** Path of the option, such as 'clients.orders.serviceConfig.methodConfig[0].retryPolicy.maxAttempts'. */
  readonly path: string;
  /** Expected and actual value, and the fix if it is not obvious: 'expected …, got …; write …'. */
  readonly message: string;
}

/** Maximum number of listed problems per document. */
const MAX_PROBLEMS = 100;

/** Collects the problems of a document, so that all of them can be fixed at once. Lists 100 and counts the rest. */
export class Problems {
  private readonly problems: Problem[] = [];
  private more = 0;
  private pathOfMore = '';

  get list(): readonly Problem[] {
    if (this.more === 0) return this.problems;
    return [...this.problems, { path: this.pathOfMore, message: `the first of ${String(this.more)} more problems` }];
  }

  get none(): boolean {
    return this.problems.length === 0;
  }

  add(path: string, expected: string, found: unknown, write?: string): void {
    this.say(path, `expected ${expected}, got ${show(found)}${write === undefined ? '' : `; write ${write}`}`);
  }

  say(path: string, message: string): void {
    if (this.problems.length < MAX_PROBLEMS) this.problems.push({ path, message });
    else if (++this.more === 1) this.pathOfMore = path;
  }
}

const MAX_VALUE_LENGTH = 60;

/** Formats a value for a message: as JSON, truncated if long; 'nothing' for `undefined`. */
export function show(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint' || typeof value === 'symbol' || typeof value === 'number') return String(value);
  if (typeof value === 'string')
    return cut(JSON.stringify(maskAddress(value.slice(0, MAX_VALUE_LENGTH), value.length > MAX_VALUE_LENGTH)));
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // The value has a cycle, a bigint, or a getter that throws.
  }
  return text === undefined ? 'an object that is not valid JSON' : cut(maskCredentials(text));
}

/** Truncates `text` if it is long. */
export function cut(text: string): string {
  return text.length > MAX_VALUE_LENGTH ? `${text.slice(0, MAX_VALUE_LENGTH - 1)}…` : text;
}

/** Appends a key to a path; an index, or a key that is not an identifier, is put in brackets. */
export function at(path: string, key: string | number): string {
  if (typeof key === 'number') return `${path}[${key}]`;
  const shown = cut(key);
  if (!/^[\w$]+$/.test(shown)) return `${path}[${JSON.stringify(shown)}]`;
  return path === '' ? shown : `${path}.${shown}`;
}
