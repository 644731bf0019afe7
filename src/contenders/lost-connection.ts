import { status } from '@grpc/grpc-js';

// One cause, several texts: what grpc-js says to a call whose connection went away under it, by what took it away (a dropped
// or reset connection, a forced shutdown of the server, a GOAWAY with an error).
const LOST_AFTER_SENDING: readonly { readonly code: status; readonly details: RegExp }[] = [
  { code: status.UNAVAILABLE, details: /^(Connection dropped|(read|write) E[A-Z]+)/ },
  { code: status.CANCELLED, details: /^Call cancelled/ },
  { code: status.INTERNAL, details: /RST_STREAM with code [02]\b/ },
  { code: status.RESOURCE_EXHAUSTED, details: /^Bandwidth exhausted/ },
];

/** Whether an error of grpc-js says that a request was under way when its connection was lost. */
export function isLostConnection(error: unknown): boolean {
  if (typeof error !== 'object' || error === null || !('code' in error && 'details' in error)) return false;
  const details = String(error.details);
  return LOST_AFTER_SENDING.some((lost) => error.code === lost.code && lost.details.test(details));
}
