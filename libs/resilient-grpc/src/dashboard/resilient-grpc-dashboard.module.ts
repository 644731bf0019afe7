import { hostname } from 'node:os';
import {
  Inject,
  Module,
  Optional,
  type CanActivate,
  type DynamicModule,
  type ModuleMetadata,
  type Type,
} from '@nestjs/common';
import * as v from 'valibot';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { ClientRegistry } from '../nest/client-registry.js';
import { ResilientGrpcCoreModule } from '../nest/resilient-grpc-core.module.js';
import { parseOptions } from '../policy/options/option-problems.js';
import { object } from '../policy/options/option-schemas.js';
import { VERSION } from '../telemetry/version.js';
import { systemClock } from '../time/clock.js';
import { dashboardAssets } from './dashboard-response.js';
import { DashboardFeed } from './dashboard-feed.js';
import { DASHBOARD_ASSETS, dashboardController } from './dashboard.controller.js';

interface DashboardMountOptions {
  /** Path of the page, below the global prefix if there is one. @defaultValue 'grpc' */
  readonly path?: string | undefined;
  /** Modules that export the dependencies of the guards. @defaultValue none */
  readonly imports?: ModuleMetadata['imports'];
}

/** Options of the dashboard: its path, and either `guards` or `public: true`. */
export type ResilientGrpcDashboardOptions = DashboardMountOptions &
  (
    | {
        /** Guards of the page, its files, its events, and its snapshot; all guards must admit a request. */
        readonly guards: readonly Type<CanActivate>[];
        readonly public?: undefined;
      }
    | {
        /** Mounts the dashboard without guards; global guards still apply. */
        readonly public: true;
        readonly guards?: undefined;
      }
  );

const DEFAULT_DASHBOARD_PATH = 'grpc';

const FOR_ROOT = 'ResilientGrpcDashboardModule.forRoot';

// Pattern of a path without '.' and '..' segments. HTTP clients resolve these segments before they send a request, so a path that contains
// them would never match.
const PATH_PATTERN = /^\/?(?!\.{1,2}(?:\/|$))[\w.~-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)*\/?$/;
const schema = object({
  path: v.optional(v.pipe(v.string(), v.regex(PATH_PATTERN, "a path without parameters, such as 'ops/grpc'"))),
  imports: v.optional(v.array(v.unknown())),
  guards: v.optional(v.pipe(v.array(v.function()), v.minLength(1))),
  public: v.optional(v.literal(true)),
});

/** @throws GrpcConfigurationError if the options are invalid */
export function resolveDashboardOptions(given: ResilientGrpcDashboardOptions) {
  const parsed = parseOptions(schema, given, FOR_ROOT, () => accessProblems(given));
  if (!parsed.ok) throw new GrpcConfigurationError(parsed.problems);
  const { path = DEFAULT_DASHBOARD_PATH, imports = [], guards = [] } = given;
  return { path: path.replace(/^\/|\/$/g, ''), imports, guards };
}

function accessProblems(options: unknown): ConfigurationProblem[] {
  if (typeof options !== 'object' || options === null) return [];
  const given = ['guards', 'public'].filter((key) => Reflect.get(options, key) !== undefined);
  if (given.length === 1) return [];
  if (given.length === 2) return [{ path: FOR_ROOT, message: 'expected guards or public: true, got both; keep one' }];
  const remedy = 'write guards: [OpsGuard], or public: true if everyone who can reach the port may see the page';
  return [{ path: FOR_ROOT, message: `expected guards or public: true, got neither; ${remedy}` }];
}

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
    const { path, imports, guards } = resolveDashboardOptions(options);
    return {
      module: ResilientGrpcDashboardModule,
      imports: [ResilientGrpcCoreModule, ...imports],
      controllers: [dashboardController(path, guards)],
      providers: [
        {
          provide: DashboardFeed,
          inject: [ClientRegistry],
          useFactory: (clients: ClientRegistry) =>
            new DashboardFeed(clients, systemClock, { host: hostname(), pid: process.pid, release: VERSION }),
        },
        { provide: DASHBOARD_ASSETS, useFactory: dashboardAssets },
      ],
    };
  }
}
