import type { UntestedVersion } from '../../call/call-event.js';
import { grpcJsVersion, isUntested, TESTED_GRPC_JS } from './grpc-js-version.js';

/** Private names of grpc-js or Node that a feature depends on. Any release may change them. */
export interface Seam {
  /** Kind of the object at which the paths start. */
  readonly on: string;
  /** Paths from that object: 'internalChannel.defaultAuthority'; 'internalChannel.onCallStart()' for a function. */
  readonly needs: readonly string[];
  /** Features that are off if a name is missing. */
  readonly lostWithout: string;
}

/** True if `subject` has all names that `seam` needs. */
export function isPresent(seam: Seam, subject: unknown): boolean {
  return missingNames(seam, subject).length === 0;
}

function missingNames({ needs }: Seam, subject: unknown): readonly string[] {
  return needs.filter((path) => {
    const found = path
      .replace('()', '')
      .split('.')
      .reduce<unknown>((at, name) => (isReadable(at) ? Reflect.get(at, name) : undefined), subject);
    return path.endsWith('()') ? typeof found !== 'function' : found === undefined;
  });
}

function isReadable(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}

/** The names of one seam that an object lacks. */
interface Missing {
  readonly names: readonly string[];
  readonly lost: string;
}

/** Kinds of objects that were probed. One object of each kind per process is enough, because all objects come from the same release. */
const probed = new Set<string>();
let isVersionReported = false;

/**
 * Reports the private names that the installed grpc-js or Node lacks, and an untested version of grpc-js, once per process and kind of
 * object.
 * @param subjects objects of the installed grpc-js, by the kinds that `seams` name
 */
export function reportMissing(
  seams: readonly Seam[],
  subjects: Readonly<Record<string, unknown>>,
  report: (untested: UntestedVersion) => void,
): void {
  const missing = Object.entries(subjects).flatMap(([on, subject]) => missingFrom(seams, on, subject));
  const isNew = !isVersionReported && isUntested(grpcJsVersion());
  isVersionReported = true;
  if (isNew || missing.length > 0) report(untestedVersion(missing));
}

function missingFrom(seams: readonly Seam[], on: string, subject: unknown): readonly Missing[] {
  if (probed.has(on)) return [];
  probed.add(on);
  return seams
    .filter((seam) => seam.on === on)
    .map((seam) => ({ names: missingNames(seam, subject), lost: seam.lostWithout }))
    .filter(({ names }) => names.length > 0);
}

function untestedVersion(missing: readonly Missing[]): UntestedVersion {
  return {
    installed: `@grpc/grpc-js ${grpcJsVersion() || '(unknown version)'} on ${runtime()}`,
    tested: `@grpc/grpc-js ${TESTED_GRPC_JS}`,
    missing: [...new Set(missing.flatMap(({ names }) => names))],
    lost: [...new Set(missing.map(({ lost }) => lost))],
  };
}

/** Name and version of the runtime. Bun and Deno also report the version of Node that they implement. */
function runtime({ bun, deno, node } = process.versions): string {
  if (bun !== undefined) return `Bun ${bun}`;
  return deno === undefined ? `Node ${node}` : `Deno ${deno}`;
}
