import type { ServiceConfig } from 'nestjs-resilient-grpc';

export type RetryPolicy = NonNullable<NonNullable<ServiceConfig['methodConfig']>[number]['retryPolicy']>;

/** A service config that makes up to three attempts of the calls of all methods, 20 ms after an attempt that ends with UNAVAILABLE. */
export function retrying(
  policy: Partial<RetryPolicy> = {},
  rest: Omit<ServiceConfig, 'methodConfig'> & { timeout?: string } = {},
): ServiceConfig {
  const retryPolicy = {
    maxAttempts: 3,
    initialBackoff: '0.02s',
    maxBackoff: '0.02s',
    backoffMultiplier: 1,
    retryableStatusCodes: ['UNAVAILABLE'],
    ...policy,
  };
  const { timeout, ...config } = rest;
  return { methodConfig: [{ name: [{}], retryPolicy, ...(timeout !== undefined && { timeout }) }], ...config };
}

/** Settings of a client that hedges the calls of all methods. */
export function hedged(hedgingDelay = '0.05s', maxAttempts = 3): { readonly serviceConfig: ServiceConfig } {
  const hedgingPolicy = { maxAttempts, hedgingDelay, nonFatalStatusCodes: ['UNAVAILABLE'] };
  return { serviceConfig: { methodConfig: [{ name: [{}], hedgingPolicy }] } };
}
