import type { UntestedVersion } from '../../call/untested-version.js';
import { grpcJsVersion, isUntested, TESTED } from './grpc-js-version.js';
import { isPresent, missingNames, type Seam } from './seam.js';

/** A seam, and the object that lacks it. */
interface Missing {
  readonly seam: Seam;
  readonly subject: unknown;
}

/** Kinds of objects that were probed. One object of each kind per process is enough, since all come from the same release. */
const probed = new Set<string>();
let isVersionReported = false;

/** Reports, once per process, the private names that this grpc-js or Node lacks. */
export class SeamReport {
  constructor(
    private readonly dependencies: readonly Seam[],
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
    return this.dependencies
      .filter((seam) => seam.on === on && !isPresent(seam, subject))
      .map((seam) => ({ seam, subject }));
  }
}

function untestedVersion(missing: readonly Missing[]): UntestedVersion {
  return {
    installed: `@grpc/grpc-js ${grpcJsVersion() || '(unknown version)'} on Node ${process.versions.node}`,
    tested: `@grpc/grpc-js ${TESTED}`,
    missing: [...new Set(missing.flatMap(({ seam, subject }) => missingNames(seam, subject)))],
    lost: [...new Set(missing.map(({ seam }) => seam.lostWithout))],
  };
}
