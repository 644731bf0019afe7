import { Metadata, type ServiceError, status } from '@grpc/grpc-js';

/** Asks for this long a pause, where the refusal names one. */
const PAUSE_MS = 300;
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/** What a caller of an overloaded server is told. */
export type Refusal = Pick<ServiceError, 'code' | 'details' | 'metadata'>;

/**
 * One of the answers that overloaded servers and the proxies before them give: UNAVAILABLE as often as RESOURCE_EXHAUSTED, one in
 * eight with the word not to come back, one in eight with a time to come back after. `random`: from 0 up to 1.
 */
export function nextRefusal(random: () => number): Refusal {
  const metadata = new Metadata();
  const pushback = random();
  if (pushback < 1 / 8) metadata.set(PUSHBACK_KEY, '-1');
  else if (pushback < 2 / 8) metadata.set(PUSHBACK_KEY, String(PAUSE_MS));
  return random() < 1 / 2
    ? { code: status.UNAVAILABLE, details: 'overloaded', metadata }
    : { code: status.RESOURCE_EXHAUSTED, details: 'too many requests', metadata };
}
