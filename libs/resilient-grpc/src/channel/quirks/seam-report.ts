import type { UntestedVersion } from '../../call/untested-version.js';
import { grpcJsVersion, isUntested, TESTED } from './grpc-js-version.js';
import { isPresent, missingNames, type Seam } from './seam.js';

/** A seam, and the object that lacks it. */
interface Missing {
  readonly seam: Seam;
  readonly subject: unknown;
}

/** Kinds of objects that were probed: one of each in a process, since all of them come from the same release. */
const probed = new Set<string>();
let isVersionReported = false;

/** Reports once per process what this grpc-js and this Node lack. */
export class SeamReport {
  constructor(
    private readonly seams: readonly Seam[],
    private readonly report: (untested: UntestedVersion) => void,
  ) {}

  /** Probes what is there before the first connection, and the version of grpc-js. */
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
    return this.seams.filter((seam) => seam.on === on && !isPresent(seam, subject)).map((seam) => ({ seam, subject }));
  }
}

function untestedVersion(missing: readonly Missing[]): UntestedVersion {
  return {
    installed: `@grpc/grpc-js ${grpcJsVersion() || 'of an unknown version'} on Node ${process.versions.node}`,
    tested: `@grpc/grpc-js ${TESTED}`,
    missing: [...new Set(missing.flatMap(({ seam, subject }) => missingNames(seam, subject)))],
    lost: [...new Set(missing.map(({ seam }) => seam.lostWithout))],
  };
}
