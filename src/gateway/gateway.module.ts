import { type DynamicModule, Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
import { ResilientGrpcHealthModule } from 'nestjs-resilient-grpc/health';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import { ContendersModule } from '../contenders/contenders.module.js';
import { CapturedLogger } from '../report/captured-logger.js';
import { HealthController } from './health.controller.js';
import { MetricsModule } from './metrics.module.js';
import { OrdersController } from './orders.controller.js';
import { PageController, START_OVER } from './page.controller.js';
import { Show } from './show.js';

/** Dependencies of the gateway. */
export interface GatewaySetup {
  readonly upstream: UpstreamProcess;
  readonly logger: CapturedLogger;
  /** Closes this gateway with its server and its clients, and serves a new one. */
  readonly startOver: () => Promise<void>;
}

/** The HTTP gateway in front of the upstream: orders, the page with its live figures and faults, the dashboard, health, and metrics. */
@Module({
  imports: [TerminusModule, ResilientGrpcHealthModule, MetricsModule],
  controllers: [PageController, OrdersController, HealthController],
})
export class GatewayModule {
  static forUpstream({ upstream, logger, startOver }: GatewaySetup): DynamicModule {
    return {
      module: GatewayModule,
      imports: [ContendersModule.forUpstream(upstream), ResilientGrpcDashboardModule.forRoot({ public: true })],
      providers: [Show, { provide: CapturedLogger, useValue: logger }, { provide: START_OVER, useValue: startOver }],
    };
  }
}
