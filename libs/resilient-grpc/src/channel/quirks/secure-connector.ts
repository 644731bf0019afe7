import { type ChannelCredentials, type ChannelOptions, experimental } from '@grpc/grpc-js';
import { targetUri } from '../connection/address-key.js';

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

/** Creates the backoff between attempts to connect. It does not keep the process alive. */
export function createBackoff(ended: () => void, options: ChannelOptions): experimental.BackoffTimeout {
  const { 'grpc.initial_reconnect_backoff_ms': initialDelay, 'grpc.max_reconnect_backoff_ms': maxDelay } = options;
  const backoff = new experimental.BackoffTimeout(ended, {
    ...(initialDelay !== undefined && { initialDelay }),
    ...(maxDelay !== undefined && { maxDelay }),
  });
  backoff.unref();
  return backoff;
}
