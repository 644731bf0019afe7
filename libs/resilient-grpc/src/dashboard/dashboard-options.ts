import type { CanActivate, ModuleMetadata, Type } from '@nestjs/common';
import * as v from 'valibot';
import { copyOptions } from '../client/settings/copy-options.js';
import { orUndefined } from '../client/settings/schema-values.js';
import { optionProblems, type KeyRemedies } from '../client/settings/validate-options.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../errors/grpc-configuration-error.js';

/** Where the dashboard is, and what its guards need. */
export interface DashboardPlace {
  /** Path of the page, below a global prefix if there is one. @defaultValue 'grpc' */
  readonly path?: string | undefined;
  /** Modules that export what the guards inject. @defaultValue none */
  readonly imports?: ModuleMetadata['imports'];
}

/** Where the dashboard is, and who may see it: `guards`, or `public: true`. */
export type ResilientGrpcDashboardOptions = DashboardPlace &
  (
    | {
        /** All of them must let a request pass: for the page, for what it loads, and for its events. */
        readonly guards: readonly Type<CanActivate>[];
        readonly public?: undefined;
      }
    | {
        /** It has no guards of its own; those of the whole application hold all the same. */
        readonly public: true;
        readonly guards?: undefined;
      }
  );

/** Options, completed. */
export interface DashboardSettings {
  readonly path: string;
  readonly imports: NonNullable<ModuleMetadata['imports']>;
  readonly guards: readonly Type<CanActivate>[];
}

const DEFAULT_DASHBOARD_PATH = 'grpc';

const AT = 'ResilientGrpcDashboardModule.forRoot';

const PATH_TEXT = "a path of its own without parameters, as 'ops/grpc'";
const GUARDS_TEXT = 'classes of guards, as [OpsGuard]';
// Segments '.' and '..' never arrive: whoever asks resolves them before.
const PATH = /^\/?(?!\.{1,2}(?:\/|$))[\w.~-]+(?:\/(?!\.{1,2}(?:\/|$))[\w.~-]+)*\/?$/;
const schema = v.object(
  {
    path: orUndefined(v.pipe(v.string(PATH_TEXT), v.regex(PATH, PATH_TEXT))),
    imports: orUndefined(v.array(v.unknown(), 'an array of modules, as [AuthModule]')),
    guards: orUndefined(
      v.pipe(
        v.array(v.function('the class of a guard, as OpsGuard; what it needs comes from imports'), GUARDS_TEXT),
        v.minLength(1, GUARDS_TEXT),
      ),
    ),
    public: orUndefined(v.literal(true, 'true, or guards')),
  },
  'an object, as { guards: [OpsGuard] }',
);

const REMEDIES: KeyRemedies = {
  guard: 'write guards: [OpsGuard]',
  useGuards: 'write guards: [OpsGuard]',
  prefix: 'write `path`',
  isGlobal: 'leave it out: nobody injects anything of it',
};

/**
 * Checks and completes options.
 *
 * @throws GrpcConfigurationError with everything that is wrong with them
 */
export function resolveDashboardOptions(given: unknown): DashboardSettings {
  const copied = copyOptions(given, AT);
  if (!copied.ok) throw new GrpcConfigurationError(copied.problems);
  const options = copied.value;
  const problems = [...optionProblems(schema, options, AT, REMEDIES), ...accessProblems(options)];
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
  // True: nothing was found that says otherwise.
  const { path = DEFAULT_DASHBOARD_PATH, imports = [], guards = [] } = options as ResilientGrpcDashboardOptions;
  return { path: path.replace(/^\/|\/$/g, ''), imports, guards };
}

function accessProblems(options: unknown): ConfigurationProblem[] {
  if (typeof options !== 'object' || options === null) return [];
  const given = ['guards', 'public'].filter((key) => Reflect.get(options, key) !== undefined);
  if (given.length === 1) return [];
  if (given.length === 2) return [{ path: AT, message: 'expected guards or public: true, got both; keep one' }];
  const remedy = 'write guards: [OpsGuard], or public: true where everybody who reaches the port may see it';
  return [{ path: AT, message: `expected guards or public: true, got neither; ${remedy}` }];
}
