/** Private names of grpc-js or Node that a feature is built on. Any release may move them. */
export interface Seam {
  /** Object that the paths start at. */
  readonly on: string;
  /** Paths from that object: 'transport.session', '_handle.getpeername()' of a function, '[state].streams' of a symbol. */
  readonly needs: readonly string[];
  /** Features that are off without it. */
  readonly lostWithout: string;
}

/** True if `subject` has everything that `seam` needs. */
export function isPresent(seam: Seam, subject: unknown): boolean {
  return missingNames(seam, subject).length === 0;
}

/** The paths of `seam` that lead nowhere. One that leads to or past `null` is there: a connection that has ended holds `null`. */
export function missingNames({ needs }: Seam, subject: unknown): readonly string[] {
  return needs.filter((path) => {
    const found = reach(subject, path.replace('()', ''));
    if (found === null) return false;
    return path.endsWith('()') ? typeof found !== 'function' : found === undefined;
  });
}

/** What `path` leads to; `null` if it passes `null`, `undefined` if a name is missing. */
export function reach(subject: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, name) => {
    if (at === null) return null;
    if (typeof at !== 'object' && typeof at !== 'function') return undefined;
    const symbol = /^\[(.+)\]$/.exec(name)?.[1];
    if (symbol === undefined) return Reflect.get(at, name);
    const key = Object.getOwnPropertySymbols(at).find(({ description }) => description === symbol);
    return key === undefined ? undefined : Reflect.get(at, key);
  }, subject);
}
