import { Controller, Get } from '@nestjs/common';
import { HealthCheck, type HealthCheckResult, HealthCheckService } from '@nestjs/terminus';
import { GrpcChannelHealthIndicator, GrpcReadinessHealthIndicator } from 'nestjs-resilient-grpc/health';

/**
 * Separate routes for liveness, readiness, and dependencies. Only the third route reports an unreachable upstream. If the probes reported
 * it, all replicas would be restarted or removed from rotation at once, which would not fix the upstream.
 */
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly readiness: GrpcReadinessHealthIndicator,
    private readonly channels: GrpcChannelHealthIndicator,
  ) {}

  /** Liveness probe: succeeds if the process responds. */
  @Get('live')
  @HealthCheck()
  live(): Promise<HealthCheckResult> {
    return this.health.check([]);
  }

  /** Readiness probe: succeeds if the process accepts requests. */
  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.health.check([() => this.readiness.check()]);
  }

  /** State of the channels to the upstreams, for operators and alerts. */
  @Get('dependencies')
  @HealthCheck()
  dependencies(): Promise<HealthCheckResult> {
    return this.health.check([() => this.channels.checkAll()]);
  }
}
