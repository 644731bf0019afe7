import { Inject, type InjectionToken } from '@nestjs/common';

/**
 * Hint at the end of each client and service token. Nest prints the token of a dependency that it cannot resolve, and adds only general
 * advice. The usual cause is that the client is not defined, or that the module that defines it is not imported.
 */
const SOURCE = '(from ResilientGrpcModule.forFeature([...]), shared by exports: [ResilientGrpcModule])';

/**
 * Returns the injection token of a client. The bare name of the client and the tokens of its services resolve to it, so that overriding it
 * in a test overrides all of them. Overriding the bare name overrides only injections by that name.
 */
export function getGrpcClientToken(client: string | symbol): InjectionToken {
  // A symbol is unique; a plain string could be another provider's token.
  return typeof client === 'symbol' ? client : `gRPC client '${client}' ${SOURCE}`;
}

/**
 * Returns the injection token of a client's service, by its short name 'Orders' or its full name 'orders.v1.Orders'. The token of the
 * short name resolves to that of the full name, so that overriding the full name in a test overrides both.
 */
export function getGrpcServiceToken(client: string | symbol, service: string): InjectionToken {
  return `gRPC service '${service}' of client ${label(client)} ${SOURCE}`;
}

/** Injects the `ResilientGrpcClient` with the given name. */
export function InjectGrpcClient(client: string | symbol): PropertyDecorator & ParameterDecorator {
  return Inject(getGrpcClientToken(client));
}

/** Injects a client's service, such as a `Resilient<OrdersClient>`, by its short name 'Orders' or its full name 'orders.v1.Orders'. */
export function InjectGrpcService(client: string | symbol, service: string): PropertyDecorator & ParameterDecorator {
  return Inject(getGrpcServiceToken(client, service));
}

/** Returns the injection token of a client's settings. Override it in tests with `overrideProvider()` to replace all settings. */
export function getGrpcClientSettingsToken(client: string | symbol): InjectionToken {
  return `settings of gRPC client ${label(client)}`;
}

/** Returns the injection token of a client's settings as given by the factory or forFeature. Tests can add overrides to these settings. */
export function givenSettingsToken(client: string | symbol): InjectionToken {
  return `settings of gRPC client ${label(client)}, as given`;
}

/** Returns the readable name of a client. */
export function clientLabel(client: string | symbol): string {
  return typeof client === 'symbol' ? (client.description ?? 'unnamed') : client;
}

// Two symbols may have the same description, so each gets a number.
const symbolNumbers = new Map<symbol, number>();

function label(client: string | symbol): string {
  if (typeof client === 'string') return `'${client}'`;
  const number = symbolNumbers.get(client) ?? symbolNumbers.size + 1;
  symbolNumbers.set(client, number);
  return `${String(client)}#${String(number)}`;
}
