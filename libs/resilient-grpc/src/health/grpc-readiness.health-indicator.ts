import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { GrpcLifecycle } from '../nest/grpc-lifecycle.js';
import { assertOptions, healthResult } from './channel-health.js';

export interface ReadinessCheckOptions {
  /** Name in the result. @defaultValue 'process' */
  readonly key?: string | undefined;
}

/**
 * Reports the readiness of this process. The process is up after the application has started, until the application or a
 * {@link ResilientGrpcServer} in the process starts to shut down. At shutdown, the process is down before the first call is rejected.
 * Dependencies are not checked, because an upstream that is down is unreachable for every replica, and taking all replicas out of rotation
 * fixes nothing.
 */
@Injectable()
export class GrpcReadinessHealthIndicator {
  /** @internal Created by Nest. */
  constructor(@Inject(GrpcLifecycle) private readonly lifecycle: GrpcLifecycle) {}

  /**
   * Returns the state of this process: 'starting', 'ready', or 'draining'. Only 'ready' is up.
   *
   * @throws GrpcConfigurationError if the options are invalid
   */
  check<const K extends string = 'process'>(
    options: ReadinessCheckOptions & { readonly key?: K | undefined } = {},
  ): HealthIndicatorResult<K> {
    assertOptions('GrpcReadinessHealthIndicator.check', options);
    // The cast is safe: without a key, K is its default.
    const key = options.key ?? ('process' as K);
    const { phase } = this.lifecycle;
    return healthResult(key, { status: phase === 'ready' ? 'up' : 'down', details: { state: phase } });
  }
}
