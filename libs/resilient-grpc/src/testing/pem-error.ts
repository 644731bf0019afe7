import { createSecureContext } from 'node:tls';
import type { SecureContextOptions } from 'node:tls';

/** Returns the error with which TLS rejects the key, certificate, or authority; `undefined` if all are valid. */
export function pemError(tls: SecureContextOptions): Error | undefined {
  try {
    createSecureContext(tls);
    return undefined;
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
