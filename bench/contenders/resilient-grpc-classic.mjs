import { ORDER_ID } from '../contract.mjs';
import { open as openWith } from './resilient-grpc.mjs';

/** The environment variable that the library reads when it creates a channel. */
const VARIABLE = 'NESTJS_RESILIENT_GRPC_DIRECT_CALLS';

/**
 * This library with all calls passing through grpc-js's channel.
 *
 * @param {string} address
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function open(address) {
  const before = process.env[VARIABLE];
  process.env[VARIABLE] = 'off';
  try {
    const contender = await openWith(address);
    // Makes the first call, which creates the channel while the variable is set. Ignores the result, because some servers of the benchmarks
    // implement only streams.
    await new Promise((resolve) => {
      contender.get(ORDER_ID, resolve);
    });
    return contender;
  } finally {
    if (before === undefined) Reflect.deleteProperty(process.env, VARIABLE);
    else process.env[VARIABLE] = before;
  }
}
