import { GrpcException } from 'nestjs-resilient-grpc/server';

/** Asks for this long a pause, where the refusal names one. */
const PAUSE_MS = 300;
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/**
 * One of the answers that overloaded servers and the proxies before them give: UNAVAILABLE as often as RESOURCE_EXHAUSTED, one in
 * eight with the word not to come back, one in eight with a time to come back after. `random`: from 0 up to 1.
 */
export function nextRefusal(random: () => number): GrpcException {
  const draw = random();
  const pushback = draw < 1 / 8 ? '-1' : draw < 2 / 8 ? String(PAUSE_MS) : undefined;
  const options = pushback === undefined ? {} : { metadata: { [PUSHBACK_KEY]: pushback } };
  return random() < 1 / 2
    ? new GrpcException('UNAVAILABLE', 'overloaded', options)
    : new GrpcException('RESOURCE_EXHAUSTED', 'too many requests', options);
}
