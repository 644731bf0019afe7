import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { GrpcLifecycle } from '../nest/grpc-lifecycle.js';
import { assertKey } from './check-options.js';
import { healthResult } from './health-results.js';

/**
 * Reports the readiness of this process. The process is up after the application has started, until the application or a
 * {@link ResilientGrpcServer} in the process starts to shut down. At shutdown, the process is down before the first call is rejected.
 * Dependencies are not checked, because an unreachable upstream is unreachable for all replicas, and taking all of them out of rotation
 * fixes nothing.
 */
@Injectable()
export class GrpcReadinessHealthIndicator {
  /** @internal Created by Nest. */
  constructor(@Inject(GrpcLifecycle) private readonly lifecycle: GrpcLifecycle) {}

  /**
   * Returns the state of this process: 'starting', 'ready', or 'draining'. Only 'ready' is up.
   *
   * @param key name in the result; 'process' by default
   * @throws GrpcConfigurationError if the key is empty or not a string
   */
  check<const N extends string = 'process'>(key?: N): HealthIndicatorResult<N> {
    // The cast is safe: without a key, N is its default.
    const name = key ?? ('process' as N);
    assertKey('GrpcReadinessHealthIndicator.check', name);
    const { phase } = this.lifecycle;
    return healthResult(name, { status: phase === 'ready' ? 'up' : 'down', details: { state: phase } });
  }
}
