import { Metadata } from '@grpc/grpc-js';
import { ClientsModule, Transport } from '@nestjs/microservices';
import { PROTO_PACKAGE, PROTO_PATH } from '../contract.mjs';
import { openApplication } from './application.mjs';
import { overService, takeOne } from './observable-service.mjs';
import { OWN_CONNECTION, TUNED_CHANNEL, TUNED_TIMEOUT_MS } from './channel-options.mjs';

/**
 * Nest's `ClientGrpc` in a Nest application, as in Nest's docs.
 *
 * @param {string} address
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function open(address) {
  const { service, close } = await connect(address);
  return overService(service, close, true);
}

/**
 * Opens the client with the best options for restarts.
 *
 * @param {string} address
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function openTuned(address) {
  const { service, close } = await connect(address, TUNED_CHANNEL);
  return {
    ...overService(service, close, true),
    get(id, done) {
      // Sets the deadline in the call options, which Nest forwards to grpc-js.
      const options = { deadline: Date.now() + TUNED_TIMEOUT_MS };
      takeOne(service.get({ id }, new Metadata({ waitForReady: true }), options), done);
    },
  };
}

/**
 * @param {string} address
 * @param {object} [channelOptions]
 */
async function connect(address, channelOptions = {}) {
  const app = await openApplication([
    ClientsModule.register([
      {
        name: 'bench',
        transport: Transport.GRPC,
        options: {
          url: address,
          package: PROTO_PACKAGE,
          protoPath: PROTO_PATH,
          channelOptions: { ...OWN_CONNECTION, ...channelOptions },
        },
      },
    ]),
  ]);
  /** @type {import('./observable-service.mjs').BenchService} */
  const service = app.get('bench').getService('Bench');
  return { service, close: () => app.close() };
}
