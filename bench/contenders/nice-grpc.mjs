import { credentials } from '@grpc/grpc-js';
import { createChannel, createClientFactory } from 'nice-grpc';
import { retryMiddleware } from 'nice-grpc-client-middleware-retry';
import { loadService } from '../load-contract.mjs';
import { OWN_CONNECTION } from './channel-options.mjs';
import { overPromises } from './promise-client.mjs';

/**
 * nice-grpc with its retry middleware, and with the same definition and codec as grpc-js.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const channel = createChannel(address, credentials.createInsecure(), OWN_CONNECTION);
  // nice-grpc names the methods after the keys of the definition. proto-loader's keys are the capitalized names in the proto file.
  const { Get, Watch, Upload, Echo } = loadService();
  const definition = { get: Get, watch: Watch, upload: Upload, echo: Echo };
  const client = createClientFactory()
    .use(retryMiddleware)
    .create(definition, channel, { '*': { retry: true } });
  return overPromises(client, () => channel.close());
}
