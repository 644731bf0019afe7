import { hostname } from 'node:os';
import { Inject, Module, Optional, type DynamicModule } from '@nestjs/common';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { ClientRegistry } from '../nest/client-registry.js';
import { ResilientGrpcCoreModule } from '../nest/resilient-grpc-core.module.js';
import { VERSION } from '../telemetry/version.js';
import { systemClock } from '../time/clock.js';
import { dashboardAssets } from './dashboard-response.js';
import { DashboardFeed } from './dashboard-feed.js';
import { resolveDashboardOptions, type ResilientGrpcDashboardOptions } from './dashboard-options.js';
import { DASHBOARD_ASSETS, dashboardController } from './dashboard.controller.js';

/** Mounts a live, read-only page that shows at most 50 clients of the application. The options must contain `guards` or `public: true`. */
@Module({})
export class ResilientGrpcDashboardModule {
  /** @internal Created by Nest. */
  constructor(@Optional() @Inject(DashboardFeed) feed?: DashboardFeed) {
    if (feed !== undefined) return;
    // Without options, the module would mount no page and report no problem.
    const message =
      'expected options, got none; write ResilientGrpcDashboardModule.forRoot({ guards: [OpsGuard] }), or forRoot({ public: true })';
    throw new GrpcConfigurationError([{ path: 'imports: ResilientGrpcDashboardModule', message }]);
  }

  /**
   * Mounts the dashboard at `path`, protected by `guards`, or without its own guards if `public` is true.
   * @throws GrpcConfigurationError if the options are invalid; without guards, `public: true` is required.
   */
  static forRoot(options: ResilientGrpcDashboardOptions): DynamicModule {
    const settings = resolveDashboardOptions(options);
    return {
      module: ResilientGrpcDashboardModule,
      imports: [ResilientGrpcCoreModule, ...settings.imports],
      controllers: [dashboardController(settings)],
      providers: [
        {
          provide: DashboardFeed,
          inject: [ClientRegistry],
          useFactory: (clients: ClientRegistry) =>
            new DashboardFeed(clients, systemClock, {
              host: hostname(),
              pid: process.pid,
              release: VERSION,
            }),
        },
        { provide: DASHBOARD_ASSETS, useFactory: dashboardAssets },
      ],
    };
  }
}
