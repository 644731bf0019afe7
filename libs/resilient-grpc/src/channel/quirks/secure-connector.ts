import { type ChannelCredentials, type ChannelOptions, experimental } from '@grpc/grpc-js';
import { firstBackoffMs } from '../../policy/reconnect/reconnect-times.js';
import type { Random } from '../../time/random.js';

// Uses names that the probe of the transport has found.

/** Creates the connector that secures the connections to a target. */
export function createConnector(
  credentials: ChannelCredentials,
  canonicalTarget: string,
  options: ChannelOptions,
): experimental.SecureConnector {
  return credentials._createSecureConnector(targetUri(canonicalTarget), options);
}

export function areSecure(credentials: ChannelCredentials): boolean {
  return credentials._isSecure();
}

/** Creates the backoff between the attempts to connect of one outage. It does not keep the process alive. */
export function createBackoff(ended: () => void, options: ChannelOptions, random: Random): experimental.BackoffTimeout {
  const { 'grpc.max_reconnect_backoff_ms': maxDelay = Infinity } = options;
  // What an application sets is exact.
  const initialDelay = options['grpc.initial_reconnect_backoff_ms'] ?? firstBackoffMs(maxDelay, random);
  const backoff = new experimental.BackoffTimeout(ended, {
    initialDelay,
    ...(maxDelay !== Infinity && { maxDelay }),
  });
  backoff.unref();
  return backoff;
}

// The same expression as in grpc-js, whose parser is not part of its public API.
const URI = /^(?:([A-Za-z0-9+.-]+):)?(?:\/\/([^/]*)\/)?(.+)$/;

/** Parses a target with its scheme into the form that grpc-js's resolvers expect. */
export function targetUri(canonicalTarget: string): experimental.GrpcUri {
  const [, scheme, authority, path = ''] = URI.exec(canonicalTarget) ?? [];
  return { ...(scheme !== undefined && { scheme }), ...(authority !== undefined && { authority }), path };
}
