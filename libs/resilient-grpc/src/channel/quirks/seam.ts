import type { UntestedVersion } from '../../call/call-event.js';
import { grpcJsVersion, isUntested, TESTED_VERSIONS } from './grpc-js-version.js';

/** Private names of grpc-js or Node that a feature depends on. Any release may change them. */
export interface Seam {
  /** Kind of the object at which the paths start. */
  readonly on: string;
  /** Paths from that object: 'transport.session'; '_handle.getpeername()' for a function. */
  readonly needs: readonly string[];
  /** Features that are off if a name is missing. */
  readonly lostWithout: string;
}

/** True if `subject` has all names that `seam` needs. */
export function isPresent(seam: Seam, subject: unknown): boolean {
  return missingNames(seam, subject).length === 0;
}

/** Returns the missing paths of a seam. A path that reaches `null` counts as present, because an ended connection holds `null`. */
function missingNames({ needs }: Seam, subject: unknown): readonly string[] {
  return needs.filter((path) => {
    const found = reach(subject, path.replace('()', ''));
    if (found === null) return false;
    return path.endsWith('()') ? typeof found !== 'function' : found === undefined;
  });
}

/** Returns the value at `path`; `null` if the path reaches `null`, `undefined` if a name is missing. */
function reach(subject: unknown, path: string): unknown {
  return path.split('.').reduce<unknown>((at, name) => {
    if (at === null) return null;
    if (typeof at !== 'object' && typeof at !== 'function') return undefined;
    return Reflect.get(at, name);
  }, subject);
}

/** The names of one seam that an object lacks. */
interface Missing {
  readonly names: readonly string[];
  readonly lost: string;
}

/** Kinds of objects that were probed. One object of each kind per process is enough, because all objects come from the same release. */
const probed = new Set<string>();
let isVersionReported = false;

/** Reports the private names that the installed grpc-js or Node lacks, once per process and kind of object. */
export class SeamReport {
  constructor(
    private readonly seams: readonly Seam[],
    private readonly report: (untested: UntestedVersion) => void,
  ) {}

  /** Probes the objects that exist before the first connection, and checks the version of grpc-js. */
  checkStart(subjects: Readonly<Record<string, unknown>>): void {
    const missing = Object.entries(subjects).flatMap(([on, subject]) => this.missing(on, subject));
    const isNew = !isVersionReported && isUntested(grpcJsVersion());
    isVersionReported = true;
    if (isNew || missing.length > 0) this.report(untestedVersion(missing));
  }

  /** Probes `subject`, if it is the first of its kind. */
  check(on: string, subject: unknown): void {
    const missing = this.missing(on, subject);
    if (missing.length > 0) this.report(untestedVersion(missing));
  }

  private missing(on: string, subject: unknown): readonly Missing[] {
    if (probed.has(on)) return [];
    probed.add(on);
    return this.seams
      .filter((seam) => seam.on === on)
      .map((seam) => ({ names: missingNames(seam, subject), lost: seam.lostWithout }))
      .filter(({ names }) => names.length > 0);
  }
}

function untestedVersion(missing: readonly Missing[]): UntestedVersion {
  return {
    installed: `@grpc/grpc-js ${grpcJsVersion() || '(unknown version)'} on ${runtime()}`,
    tested: `@grpc/grpc-js ${TESTED_VERSIONS}`,
    missing: [...new Set(missing.flatMap(({ names }) => names))],
    lost: [...new Set(missing.map(({ lost }) => lost))],
  };
}

/** Name and version of the runtime. Bun and Deno also report the version of Node that they implement. */
function runtime({ bun, deno, node } = process.versions): string {
  if (bun !== undefined) return `Bun ${bun}`;
  return deno === undefined ? `Node ${node}` : `Deno ${deno}`;
}
