import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import type { Services } from './contract.js';

/** Result of a lookup of a service name in a client. */
export type ServiceLookup =
  { readonly found: true; readonly service: string } | { readonly found: false; readonly message: string };

/** Finds a service by short name ('Orders') or full name ('orders.v1.Orders'). */
export function lookUpService(services: Services, name: string): ServiceLookup {
  if (services.has(name)) return { found: true, service: name };
  const sameShortName = [...services.keys()].filter((full) => shortName(full) === name);
  const [service] = sameShortName;
  if (service !== undefined && sameShortName.length === 1) return { found: true, service };
  if (sameShortName.length > 1) {
    return { found: false, message: `'${name}' is in several packages; write one of ${quoted(sameShortName)}` };
  }
  const known = [...services.keys()];
  const meant = closest(name, [...known, ...known.map(shortName)]);
  return {
    found: false,
    message: `no service '${name}'; ${meant === undefined ? `known services: ${quoted(known)}` : `did you mean '${meant}'?`}`,
  };
}

/** Returns the full name of a service. @throws GrpcConfigurationError if the client has no such service, or several */
export function findService(services: Services, name: string, client: string): string {
  const lookup = lookUpService(services, name);
  if (lookup.found) return lookup.service;
  throw new GrpcConfigurationError([{ path: `clients.${client}`, message: lookup.message }]);
}

/** Returns the short name of a service: 'Orders' for 'orders.v1.Orders'. */
export function shortName(service: string): string {
  return service.slice(service.lastIndexOf('.') + 1);
}

function quoted(names: readonly string[]): string {
  return names.map((name) => `'${name}'`).join(', ');
}
