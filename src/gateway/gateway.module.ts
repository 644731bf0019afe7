import { type DynamicModule, Module } from '@nestjs/common';
import { UpstreamProcess } from '../chaos/upstream-process.js';
import { ContendersModule } from '../contenders/contenders.module.js';
import { CapturedLogger } from '../report/captured-logger.js';
import { PageController } from './page.controller.js';
import { LOG_PATH, Show } from './show.js';

/** What the gateway is given when it starts. */
export interface GatewaySetup {
  readonly upstream: UpstreamProcess;
  /** Log of orders of the upstream. */
  readonly logPath: string;
  readonly logger: CapturedLogger;
}

/** The HTTP gateway in front of the upstream: the page, its live figures and its faults. */
@Module({ controllers: [PageController] })
export class GatewayModule {
  static forUpstream({ upstream, logPath, logger }: GatewaySetup): DynamicModule {
    return {
      module: GatewayModule,
      imports: [ContendersModule.forUpstream(upstream.url)],
      providers: [
        Show,
        { provide: UpstreamProcess, useValue: upstream },
        { provide: CapturedLogger, useValue: logger },
        { provide: LOG_PATH, useValue: logPath },
      ],
    };
  }
}
