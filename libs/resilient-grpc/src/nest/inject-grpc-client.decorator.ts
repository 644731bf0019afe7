import { Inject } from '@nestjs/common';
import { getGrpcClientToken } from './grpc-tokens.js';

/** Injects a client, a `ResilientGrpcClient`, by its name. */
export function InjectGrpcClient(client: string | symbol): PropertyDecorator & ParameterDecorator {
  return Inject(getGrpcClientToken(client));
}
