import { GrpcException } from 'nestjs-resilient-grpc/server';

/** Pushback of a refusal that permits a later retry. */
const PAUSE_MS = 300;
const PUSHBACK_KEY = 'grpc-retry-pushback-ms';

/**
 * Returns a random status of an overloaded server or proxy. UNAVAILABLE and RESOURCE_EXHAUSTED have equal probability. One status in 8 has
 * a pushback that forbids retries, and one in 8 has a pushback of 300 ms. `random` returns values from 0 to below 1.
 */
export function nextRefusal(random: () => number): GrpcException {
  const draw = random();
  const pushback = draw < 1 / 8 ? '-1' : draw < 2 / 8 ? String(PAUSE_MS) : undefined;
  const options = pushback === undefined ? {} : { metadata: { [PUSHBACK_KEY]: pushback } };
  return random() < 1 / 2
    ? new GrpcException('UNAVAILABLE', 'overloaded', options)
    : new GrpcException('RESOURCE_EXHAUSTED', 'too many requests', options);
}
