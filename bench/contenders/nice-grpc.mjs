import { credentials } from '@grpc/grpc-js';
import { createChannel, createClient } from 'nice-grpc';
import { loadService } from '../contract.mjs';
import { OWN_CONNECTION } from './own-connection.mjs';
import { overPromises } from './promise-client.mjs';

/**
 * nice-grpc over the same definition, and so the same codec, as grpc-js.
 *
 * @param {string} address
 * @returns {import('../contenders.mjs').Contender}
 */
export function open(address) {
  const channel = createChannel(address, credentials.createInsecure(), OWN_CONNECTION);
  // Its methods bear the keys of the definition, which in proto-loader's are the names in the proto.
  const { Get, Watch, Upload } = loadService();
  const client = createClient({ get: Get, watch: Watch, upload: Upload }, channel);
  return overPromises(client, () => {
    channel.close();
  });
}
