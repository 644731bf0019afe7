/** Describes how the installed grpc-js or Node differs from the tested ones. Calls still work, but without the features in `lost`. */
export interface UntestedVersion {
  /** Installed versions, such as '@grpc/grpc-js 1.16.0 on Node 26.10.0'. */
  readonly installed: string;
  /** Tested releases of grpc-js, such as '@grpc/grpc-js 1.14.7'. */
  readonly tested: string;
  /** Private names of grpc-js or Node that are missing; empty if only the version of grpc-js is untested. */
  readonly missing: readonly string[];
  /** Features that are off. */
  readonly lost: readonly string[];
}
