import type { InjectionToken } from '@nestjs/common';

/** Token of a client. */
export function getGrpcClientToken(client: string | symbol): InjectionToken {
  // A symbol is unlike any other by itself; a text could be a token of someone else's.
  return typeof client === 'symbol' ? client : `gRPC client '${client}'`;
}

/**
 * Token of a service of a client: 'Orders', or 'orders.v1.Orders'. The token of the short name leads to that of the full name,
 * so overriding the full one in a test overrides both.
 */
export function getGrpcServiceToken(client: string | symbol, service: string): InjectionToken {
  return `gRPC service '${service}' of client ${label(client)}`;
}

/** Token of the settings that a client is made with; `overrideProvider()` it in tests to replace all of them. */
export function getGrpcClientSettingsToken(client: string | symbol): InjectionToken {
  return `settings of gRPC client ${label(client)}`;
}

/** Token of a client's settings as the factory, or the call of forFeature, gave them: what a test may stand others over. */
export function givenSettingsToken(client: string | symbol): InjectionToken {
  return `settings of gRPC client ${label(client)}, as given`;
}

/** A client's name for people. */
export function clientLabel(client: string | symbol): string {
  return typeof client === 'symbol' ? (client.description ?? 'unnamed') : client;
}

// Two symbols may bear one description: each gets a number.
const symbolNumbers = new Map<symbol, number>();

function label(client: string | symbol): string {
  if (typeof client === 'string') return `'${client}'`;
  const number = symbolNumbers.get(client) ?? symbolNumbers.size + 1;
  symbolNumbers.set(client, number);
  return `${String(client)}#${String(number)}`;
}
