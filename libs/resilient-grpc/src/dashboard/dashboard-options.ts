import type { CanActivate, ModuleMetadata, Type } from '@nestjs/common';
import * as v from 'valibot';
import { copyOptions } from '../client/settings/copy-options.js';
import { object } from '../policy/options/option-schemas.js';
import { optionProblems } from '../policy/options/option-problems.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';

export interface DashboardMountOptions {
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

export interface DashboardSettings {
  readonly path: string;
  readonly imports: NonNullable<ModuleMetadata['imports']>;
  readonly guards: readonly Type<CanActivate>[];
}

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
export function resolveDashboardOptions(given: unknown): DashboardSettings {
  const copied = copyOptions(given, FOR_ROOT);
  if (!copied.ok) throw new GrpcConfigurationError(copied.problems);
  const options = copied.value;
  const problems = [...optionProblems(schema, options, FOR_ROOT), ...accessProblems(options)];
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
  // The cast is safe: the checks found no problems.
  const { path = DEFAULT_DASHBOARD_PATH, imports = [], guards = [] } = options as ResilientGrpcDashboardOptions;
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
