import 'reflect-metadata';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { PROTO_PACKAGE, PROTO_PATH } from '../contract.mjs';
import { overService } from './observable-service.mjs';
import { OWN_CONNECTION } from './own-connection.mjs';

/**
 * Nest's `ClientGrpc`, as its docs have it.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const client = ClientProxyFactory.create({
    transport: Transport.GRPC,
    options: { url: address, package: PROTO_PACKAGE, protoPath: PROTO_PATH, channelOptions: OWN_CONNECTION },
  });
  const close = () => {
    client.close();
  };
  return overService(client.getService('Bench'), close, true);
}
