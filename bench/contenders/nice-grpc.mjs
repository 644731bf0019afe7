import { credentials } from '@grpc/grpc-js';
import { createChannel, createClientFactory } from 'nice-grpc';
import { retryMiddleware } from 'nice-grpc-client-middleware-retry';
import { loadService } from '../load-contract.mjs';
import { OWN_CONNECTION, TUNED_CONNECTION, TUNED_TIMEOUT_MS } from './channel-options.mjs';
import { overPromises } from './promise-client.mjs';

/**
 * nice-grpc with its retry middleware, and with the same definition and codec as grpc-js.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const { client, close } = connect(address, {}, { retry: true });
  return overPromises(client, close);
}

/**
 * Opens the client with the best options for restarts: its middleware retries until the call times out. The client cannot wait until a lost
 * connection is restored. The channel has no retry policy, because its retries would multiply those of the middleware.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function openTuned(address) {
  const retries = { retry: true, retryMaxAttempts: Infinity, retryBaseDelayMs: 100, retryMaxDelayMs: 500 };
  const { client, close } = connect(address, TUNED_CONNECTION, retries);
  return {
    ...overPromises(client, close),
    get(id, done) {
      client.get({ id }, { signal: AbortSignal.timeout(TUNED_TIMEOUT_MS) }).then((order) => {
        done(null, order);
      }, done);
    },
  };
}

/**
 * @param {string} address
 * @param {object} channelOptions
 * @param {import('nice-grpc-client-middleware-retry').RetryOptions} retries
 */
function connect(address, channelOptions, retries) {
  const channel = createChannel(address, credentials.createInsecure(), { ...OWN_CONNECTION, ...channelOptions });
  // nice-grpc names the methods after the keys of the definition. proto-loader's keys are the capitalized names in the proto file.
  const { Get, Watch, Upload, Echo } = loadService();
  const definition = { get: Get, watch: Watch, upload: Upload, echo: Echo };
  const client = createClientFactory().use(retryMiddleware).create(definition, channel, { '*': retries });
  return {
    client,
    close: () => {
      channel.close();
    },
  };
}
