import 'reflect-metadata';
import { Metadata } from '@grpc/grpc-js';
import { ClientProxyFactory, Transport } from '@nestjs/microservices';
import { timeout } from 'rxjs';
import { PROTO_PACKAGE, PROTO_PATH } from '../contract.mjs';
import { overService, takeOne } from './observable-service.mjs';
import { OWN_CONNECTION } from './own-connection.mjs';
import { TUNED_CHANNEL, TUNED_TIMEOUT_MS } from './tuned-options.mjs';

/**
 * Nest's `ClientGrpc`, as its docs have it.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const { service, close } = connect(address);
  return overService(service, close, true);
}

/**
 * Set up against restarts as well as it can be.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function openTuned(address) {
  const { service, close } = connect(address, TUNED_CHANNEL);
  return {
    ...overService(service, close, true),
    get(id, done) {
      // It takes no deadline.
      takeOne(service.get({ id }, new Metadata({ waitForReady: true })).pipe(timeout(TUNED_TIMEOUT_MS)), done);
    },
  };
}

/**
 * @param {string} address
 * @param {object} [channelOptions]
 */
function connect(address, channelOptions = {}) {
  const client = ClientProxyFactory.create({
    transport: Transport.GRPC,
    options: {
      url: address,
      package: PROTO_PACKAGE,
      protoPath: PROTO_PATH,
      channelOptions: { ...OWN_CONNECTION, ...channelOptions },
    },
  });
  /** @type {import('./observable-service.mjs').BenchService} */
  const service = client.getService('Bench');
  return {
    service,
    close: () => {
      client.close();
    },
  };
}
