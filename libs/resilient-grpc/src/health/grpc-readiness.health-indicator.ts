import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { GrpcLifecycle } from '../nest/grpc-lifecycle.js';
import { assertKey } from './check-options.js';
import { healthResult } from './health-results.js';

/**
 * Whether this process takes requests: it has started, and neither the application nor a {@link ResilientGrpcServer} of it shuts down.
 * It is down before anything is refused. Nothing that the process depends on is looked at: an upstream that is away is away for all
 * replicas, and to take them all out of rotation mends nothing.
 */
@Injectable()
export class GrpcReadinessHealthIndicator {
  /** @internal Made by Nest. */
  constructor(@Inject(GrpcLifecycle) private readonly lifecycle: GrpcLifecycle) {}

  /**
   * The state of this process, 'starting', 'ready' or 'draining', of which the second is up.
   *
   * @param key name in the result
   * @throws GrpcConfigurationError for a key that is no text
   */
  check<const N extends string = 'process'>(key?: N): HealthIndicatorResult<N> {
    // True: without one N is the default.
    const name = key ?? ('process' as N);
    assertKey('GrpcReadinessHealthIndicator.check', name);
    const { phase } = this.lifecycle;
    return healthResult(name, { status: phase === 'ready' ? 'up' : 'down', details: { state: phase } });
  }
}
