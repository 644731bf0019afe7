import { Controller, Get } from '@nestjs/common';
import { HealthCheck, type HealthCheckResult, HealthCheckService } from '@nestjs/terminus';
import { GrpcChannelHealthIndicator, GrpcReadinessHealthIndicator } from 'nestjs-resilient-grpc/health';

/**
 * Three questions, three routes. An upstream that is away is in the third alone: restarting or taking this process out of
 * rotation because of it would mend nothing, and take every replica out at once.
 */
@Controller('health')
export class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly readiness: GrpcReadinessHealthIndicator,
    private readonly channels: GrpcChannelHealthIndicator,
  ) {}

  /** For the liveness probe: the process answers. */
  @Get('live')
  @HealthCheck()
  live(): Promise<HealthCheckResult> {
    return this.health.check([]);
  }

  /** For the readiness probe: the process takes requests. */
  @Get('ready')
  @HealthCheck()
  ready(): Promise<HealthCheckResult> {
    return this.health.check([() => this.readiness.check()]);
  }

  /** For people and alerts: the channels this process depends on. */
  @Get('dependencies')
  @HealthCheck()
  dependencies(): Promise<HealthCheckResult> {
    return this.health.check([() => this.channels.checkAll()]);
  }
}
