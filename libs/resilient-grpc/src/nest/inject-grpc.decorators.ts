import { Inject } from '@nestjs/common';
import { getGrpcServiceToken, getGrpcClientToken } from './grpc-tokens.js';
import { recordInjection } from './misspelled-injections.js';

/** Injects the `ResilientGrpcClient` with the given name. */
export function InjectGrpcClient(client: string | symbol): PropertyDecorator & ParameterDecorator {
  return Inject(getGrpcClientToken(client));
}

/**
 * Injects a client's service, such as a `Resilient<OrdersClient>`, by its short name 'Orders' or its full name 'orders.v1.Orders'. A
 * misspelled name makes startup fail with a `GrpcConfigurationError` that suggests the closest name, or lists the services.
 */
export function InjectGrpcService(client: string | symbol, service: string): PropertyDecorator & ParameterDecorator {
  const token = getGrpcServiceToken(client, service);
  const inject = Inject(token);
  return (target: object, key: string | symbol | undefined, index?: number) => {
    recordInjection(token, target, { client, service });
    // The cast is safe: Nest's decorator accepts both kinds of targets.
    (inject as (...args: readonly unknown[]) => void)(target, key, index);
  };
}
