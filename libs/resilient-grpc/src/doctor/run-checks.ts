import type { CheckResult } from './check-result.js';
import type { Reflected } from './checks/reflection.js';
import { shutdownCheck } from './checks/shutdown.js';
import type { DoctorOptions } from './doctor-options.js';

/** Variables of the environment that decide about connections. */
export type Env = Readonly<Record<string, string | undefined>>;

/** Checks, each told as soon as it is known. */
export type Checks<T = void> = AsyncGenerator<CheckResult, T>;

/** Makes the checks that are asked for, one after the other. What they need of gRPC is loaded for them alone. */
export async function* runChecks(options: DoctorOptions, env: Env): Checks {
  const { target, serviceConfigFile, protoFile, shutdown } = options;
  let reflected: Reflected | undefined;
  if (target !== undefined) {
    const { checkTarget } = await import('./check-target.js');
    reflected = yield* checkTarget(target, options, env);
  }
  if (serviceConfigFile !== undefined) {
    const { knownMethods } = await import('./known-methods.js');
    const { serviceConfigCheck } = await import('./checks/service-config.js');
    yield serviceConfigCheck(serviceConfigFile, knownMethods(protoFile, reflected));
  }
  if (shutdown !== undefined) yield shutdownCheck(shutdown);
}
