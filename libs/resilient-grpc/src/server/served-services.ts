import type { Services } from '../client/settings/contract.js';

/** The services that Nest serves of a definition: those of `packages` and of packages inside them, all where it names none. */
export function servedServices(services: Services, packages: string | readonly string[] | undefined): Services {
  const names: readonly (string | undefined)[] = Array.isArray(packages) ? packages : [packages];
  const isServed = (service: string) => names.some((name) => !name || service.startsWith(`${name}.`));
  return new Map([...services].filter(([service]) => isServed(service)));
}
