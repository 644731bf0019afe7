// #region all
import { Controller, Get, Module } from '@nestjs/common';
import { HealthCheck, HealthCheckService, TerminusModule } from '@nestjs/terminus';
import {
  GrpcChannelHealthIndicator,
  GrpcReadinessHealthIndicator,
  ResilientGrpcHealthModule,
} from 'nestjs-resilient-grpc/health';

@Controller('health')
class HealthController {
  constructor(
    private readonly health: HealthCheckService,
    private readonly readiness: GrpcReadinessHealthIndicator,
    private readonly channels: GrpcChannelHealthIndicator,
  ) {}

  /** Liveness probe: succeeds if the process responds. Fails during a shutdown, as every check of Terminus does. */
  @Get('live') @HealthCheck() live() {
    return this.health.check([]);
  }

  /** Readiness probe: succeeds if this process accepts requests, whatever the state of the servers that it calls. */
  @Get('ready') @HealthCheck() ready() {
    return this.health.check([() => this.readiness.check()]);
  }

  /** The servers that this process calls, for people, dashboards, and alerts; not for probes. */
  @Get('dependencies') @HealthCheck() dependencies() {
    return this.health.check([() => this.channels.checkAll()]);
  }
}

@Module({ imports: [TerminusModule, ResilientGrpcHealthModule], controllers: [HealthController] })
export class HealthModule {}
// #endregion
