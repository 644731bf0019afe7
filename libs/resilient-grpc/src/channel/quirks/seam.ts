/** Private names of grpc-js or Node that a feature depends on. Any release may move them. */
export interface Seam {
  /** Kind of the object that the paths start at. */
  readonly on: string;
  /** Paths from that object: 'transport.session'; '_handle.getpeername()' for a function; '[state].streams' for a symbol. */
  readonly needs: readonly string[];
  /** Features that are off if a name is missing. */
  readonly lostWithout: string;
}

/** True if `subject` has everything that `seam` needs. */
export function isPresent(seam: Seam, subject: unknown): boolean {
  return missingNames(seam, subject).length === 0;
}

/** Returns the missing paths of a seam. A path that reaches `null` counts as present, because an ended connection holds `null`. */
export function missingNames({ needs }: Seam, subject: unknown): readonly string[] {
  return needs.filter((path) => {
    const found = reach(subject, path.replace('()', ''));
    if (found === null) return false;
    return path.endsWith('()') ? typeof found !== 'function' : found === undefined;
  });
}

/** Returns the value at `path`; `null` if the path reaches `null`, `undefined` if a name is missing. */
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
