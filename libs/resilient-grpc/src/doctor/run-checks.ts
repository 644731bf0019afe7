import type { Checks } from './check-result.js';
import type { Reflected } from './checks/reflection.js';
import { shutdownCheck } from './checks/shutdown.js';
import type { DoctorOptions, Env } from './doctor-options.js';

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
