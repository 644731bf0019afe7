import type { experimental } from '@grpc/grpc-js';

// The same expression as in grpc-js, whose parser is not part of its public API.
const URI = /^(?:([A-Za-z0-9+.-]+):)?(?:\/\/([^/]*)\/)?(.+)$/;

/** Parses a target with its scheme into the form that grpc-js's resolvers expect. */
export function targetUri(canonicalTarget: string): experimental.GrpcUri {
  const [, scheme, authority, path = ''] = URI.exec(canonicalTarget) ?? [];
  return { ...(scheme !== undefined && { scheme }), ...(authority !== undefined && { authority }), path };
}
