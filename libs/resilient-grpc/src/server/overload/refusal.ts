import { Metadata } from '@grpc/grpc-js';
import { OVERLOAD_KEY, OVERLOAD_VALUE } from '../../policy/overload/overload-queue.js';
import { PUSHBACK_KEY } from '../../policy/pushback/parse-pushback.js';
import { StatusCode } from '../../status/status-code.js';
import type { StatusLike } from '../calls/wire-call.js';

/** Status of a refused call. */
type Refusal = StatusLike & { readonly code: StatusCode; readonly metadata: Metadata };

/** Creates the status of calls that are refused because of an overload. Such calls share one status, because there may be thousands. */
export function overloadRefusal(details: string): Refusal {
  const metadata = new Metadata();
  // Without pushback, clients would retry refused calls, and the retries would keep the server overloaded.
  metadata.set(PUSHBACK_KEY, '-1');
  metadata.set(OVERLOAD_KEY, OVERLOAD_VALUE);
  return { code: StatusCode.RESOURCE_EXHAUSTED, details, metadata };
}

/** Status of a call that an overloaded server refuses because its handler could not run in time. */
export const REFUSED = overloadRefusal('The server is overloaded and refused the call before its handler ran');

/** Status of a call whose deadline passed before its handler started. */
export const EXPIRED: StatusLike = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: "Deadline exceeded in the server's queue",
};
