import { Inject } from '@nestjs/common';
import { getGrpcServiceToken } from './grpc-tokens.js';

/** Injects a service of a client, a `Resilient<OrdersClient>`, by its short name 'Orders' or its full name 'orders.v1.Orders'. */
export function InjectGrpcService(client: string | symbol, service: string): PropertyDecorator & ParameterDecorator {
  return Inject(getGrpcServiceToken(client, service));
}
