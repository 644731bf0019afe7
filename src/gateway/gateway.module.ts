import { type DynamicModule, Module } from '@nestjs/common';
import { ResilientGrpcDashboardModule } from 'nestjs-resilient-grpc/dashboard';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import { ContendersModule } from '../contenders/contenders.module.js';
import { HealthModule } from '../health/health.module.js';
import { MetricsModule } from '../metrics/metrics.module.js';
import { CapturedLogger } from '../report/captured-logger.js';
import { OrdersController } from './orders.controller.js';
import { OverloadShow } from './overload-show.js';
import { PageController } from './page.controller.js';
import { Show } from './show.js';

/** Dependencies of the gateway. */
export interface GatewaySetup {
  readonly upstream: UpstreamProcess;
  readonly logger: CapturedLogger;
}

/** The HTTP gateway in front of the upstream: orders, the page with its live figures and faults, the dashboard, health, and metrics. */
@Module({ imports: [HealthModule, MetricsModule], controllers: [PageController, OrdersController] })
export class GatewayModule {
  static forUpstream({ upstream, logger }: GatewaySetup): DynamicModule {
    return {
      module: GatewayModule,
      imports: [ContendersModule.forUpstream(upstream), ResilientGrpcDashboardModule.forRoot({ public: true })],
      providers: [Show, OverloadShow, { provide: CapturedLogger, useValue: logger }],
    };
  }
}
