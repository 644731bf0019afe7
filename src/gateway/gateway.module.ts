import { type DynamicModule, Module } from '@nestjs/common';
import type { UpstreamProcess } from '../chaos/upstream-process.js';
import { ContendersModule } from '../contenders/contenders.module.js';
import { HealthModule } from '../health/health.module.js';
import { MetricsModule } from '../metrics/metrics.module.js';
import { CapturedLogger } from '../report/captured-logger.js';
import { OrdersController } from './orders.controller.js';
import { PageController } from './page.controller.js';
import { Show } from './show.js';

/** What the gateway is given when it starts. */
export interface GatewaySetup {
  readonly upstream: UpstreamProcess;
  readonly logger: CapturedLogger;
}

/** The HTTP gateway in front of the upstream: the page, its live figures and its faults. */
@Module({ imports: [HealthModule, MetricsModule], controllers: [PageController, OrdersController] })
export class GatewayModule {
  static forUpstream({ upstream, logger }: GatewaySetup): DynamicModule {
    return {
      module: GatewayModule,
      imports: [ContendersModule.forUpstream(upstream)],
      providers: [Show, { provide: CapturedLogger, useValue: logger }],
    };
  }
}
