import type { Services } from '../client/settings/contract.js';

/** Returns the services of a definition that Nest serves: those in `packages` and their subpackages, or all if none is given. */
export function servedServices(services: Services, packages: string | readonly string[] | undefined): Services {
  const names: readonly (string | undefined)[] = Array.isArray(packages) ? packages : [packages];
  const isServed = (service: string) => names.some((name) => !name || service.startsWith(`${name}.`));
  return new Map([...services].filter(([service]) => isServed(service)));
}
