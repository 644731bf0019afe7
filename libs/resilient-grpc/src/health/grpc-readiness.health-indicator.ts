import { Inject, Injectable } from '@nestjs/common';
import type { HealthIndicatorResult } from '@nestjs/terminus';
import { GrpcLifecycle } from '../nest/grpc-lifecycle.js';
import { healthResult } from './grpc-channel.health-indicator.js';

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

  /** Returns the state of this process under the key 'process': 'starting', 'ready', or 'draining'. Only 'ready' is up. */
  check(): HealthIndicatorResult<'process'> {
    const { phase } = this.lifecycle;
    return healthResult('process', { status: phase === 'ready' ? 'up' : 'down', details: { state: phase } });
  }
}
