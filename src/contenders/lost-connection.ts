import { status } from '@grpc/grpc-js';

// Statuses of grpc-js for a call whose connection was lost. They depend on the cause: a dropped or reset connection, a forced shutdown of
// the server, or a GOAWAY with an error.
const LOST_AFTER_SENDING: readonly { readonly code: status; readonly details: RegExp }[] = [
  { code: status.UNAVAILABLE, details: /^(Connection dropped|(read|write) E[A-Z]+)/ },
  { code: status.CANCELLED, details: /^Call cancelled/ },
  { code: status.INTERNAL, details: /RST_STREAM with code [02]\b/ },
  { code: status.RESOURCE_EXHAUSTED, details: /^Bandwidth exhausted/ },
];

/** True if an error of grpc-js means that the connection was lost while a request was in flight. */
export function isLostConnection(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('code' in error && 'details' in error)) return false;
  const details = String(error.details);
  return LOST_AFTER_SENDING.some((lost) => error.code === lost.code && lost.details.test(details));
}
