/** Describes how the installed grpc-js or Node differs from the tested ones. Calls still work, but without the features in `lost`. */
export interface UntestedVersion {
  /** '@grpc/grpc-js 1.16.0 on Node 26.10.0' */
  readonly installed: string;
  /** '@grpc/grpc-js 1.14.7' */
  readonly tested: string;
  /** Private names that are missing; empty if only the version differs from the tested ones. */
  readonly missing: readonly string[];
  /** Features that are off. */
  readonly lost: readonly string[];
}
