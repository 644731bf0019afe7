import type { Checks } from './check-result.js';
import type { Reflected } from './checks/reflection-check.js';
import { shutdownCheck } from './checks/shutdown-check.js';
import type { DoctorOptions, Env } from './doctor-options.js';

/** Runs the requested checks one after the other. Loads gRPC only for the checks that need it. */
export async function* runChecks(options: DoctorOptions, env: Env): Checks {
  const { target, serviceConfigFile, protoFile, shutdown } = options;
  let reflected: Reflected | undefined;
  if (target !== undefined) {
    const { checkTarget } = await import('./check-target.js');
    reflected = yield* checkTarget(target, options, env);
  }
  if (serviceConfigFile !== undefined) {
    const { knownMethods } = await import('./known-methods.js');
    const { serviceConfigCheck } = await import('./checks/service-config-check.js');
    yield serviceConfigCheck(serviceConfigFile, knownMethods(protoFile, reflected));
  }
  if (shutdown !== undefined) yield shutdownCheck(shutdown);
}
