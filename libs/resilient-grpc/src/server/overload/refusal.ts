import { Metadata } from '@grpc/grpc-js';
import { OVERLOAD_KEY, OVERLOAD_VALUE } from '../../policy/overload/overload-mark.js';
import { StatusCode } from '../../status/status-code.js';
import type { StatusLike } from '../calls/wire-call.js';

/** Without pushback, clients would retry refused calls, and the retries would keep the server overloaded. */
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/** Returns the status of a call that is refused because of an overload. It is shared by all refused calls, because there may be thousands. */
export function overloadRefusal(details: string): StatusLike {
  const metadata = new Metadata();
  metadata.set(PUSHBACK_KEY, '-1');
  metadata.set(OVERLOAD_KEY, OVERLOAD_VALUE);
  return { code: StatusCode.RESOURCE_EXHAUSTED, details, metadata };
}

/** Status of a call whose deadline passed before its handler started. */
export const EXPIRED: StatusLike = {
  code: StatusCode.DEADLINE_EXCEEDED,
  details: 'Deadline exceeded in the queue of the server',
};
