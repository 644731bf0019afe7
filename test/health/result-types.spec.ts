import type { HealthCheckService, HealthIndicatorResult } from '@nestjs/terminus';
import type { GrpcChannelHealthIndicator, GrpcServingHealthIndicator } from 'nestjs-resilient-grpc/health';
import { describe, expectTypeOf, it } from 'vitest';

type Channels = GrpcChannelHealthIndicator;
type Serving = GrpcServingHealthIndicator;

/** Never called. TypeScript compiles the function and reports each `@ts-expect-error` whose next line has no error. */
export function rejectedByTypes(channels: Channels) {
  // @ts-expect-error misspelled option
  void channels.check('orders', { requierd: false });
  // @ts-expect-error a key that is not a string
  void channels.check('orders', { key: 7 });
}

describe('health result types', () => {
  it('names the result of a health check after its key or, without a key, after the client', () => {
    const checks = (
      channels: Channels,
      serving: Serving,
      options: { readonly key?: string },
      key: string | undefined,
    ) => ({
      byName: [channels.check('orders'), serving.check('orders')] as const,
      byNameWithOptions: [channels.check('orders', {}), serving.check('orders', { timeoutMs: 500 })] as const,
      byKey: [channels.check('orders', { key: 'upstream' }), serving.check('orders', { key: 'upstream' })] as const,
      byUnknownKey: [channels.check('orders', options), serving.check('orders', { key })] as const,
    });
    type ByName = Promise<HealthIndicatorResult<'orders'>>;
    type ByKey = Promise<HealthIndicatorResult<'upstream'>>;
    type ByUnknownKey = Promise<HealthIndicatorResult>;
    const results = expectTypeOf(checks).returns;
    results.toHaveProperty('byName').toEqualTypeOf<readonly [ByName, ByName]>();
    results.toHaveProperty('byNameWithOptions').toEqualTypeOf<readonly [ByName, ByName]>();
    results.toHaveProperty('byKey').toEqualTypeOf<readonly [ByKey, ByKey]>();
    results.toHaveProperty('byUnknownKey').toEqualTypeOf<readonly [ByUnknownKey, ByUnknownKey]>();
  });

  it('accepts health checks of clients that are named by a symbol', () => {
    const checks = (channels: Channels, serving: Serving, name: symbol) => ({
      byDescription: [channels.check(name), serving.check(name)] as const,
      byKey: channels.check(name, { key: 'upstream' }),
      others: channels.checkAll({ except: [name, 'orders'] }),
    });
    type ByDescription = Promise<HealthIndicatorResult>;
    const results = expectTypeOf(checks).returns;
    results.toHaveProperty('byDescription').toEqualTypeOf<readonly [ByDescription, ByDescription]>();
    results.toHaveProperty('byKey').toEqualTypeOf<Promise<HealthIndicatorResult<'upstream'>>>();
  });

  it("makes the results of health checks assignable to those that Terminus's HealthCheckService accepts", () => {
    const accepts = (health: HealthCheckService, channels: Channels, name: symbol) =>
      health.check([
        () => channels.check('orders'),
        () => channels.check('orders', { key: 'x' }),
        () => channels.check(name),
      ]);
    expectTypeOf(accepts).toBeFunction();
  });
});
