import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { open as openClient } from '../contenders/grpc-js-channel.mjs';
import { ORDER_ID } from '../contract.mjs';

/**
 * Starts a server in a separate process, and connects to it with a client that uses grpc-js's channel directly.
 *
 * @param {import('./measure.mjs').ServerEntry['name']} name
 * @param {readonly string[]} execArgv Node flags for the server.
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function openServer(name, execArgv) {
  const child = fork(fileURLToPath(new URL('./server-process.mjs', import.meta.url)), [name], {
    execArgv: [...execArgv],
    // Keeps standard output for the report.
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  const exited = once(child, 'exit');
  const nextMessage = async () => {
    const [answer] = await Promise.race([
      once(child, 'message'),
      exited.then(([code]) => {
        throw new Error(`the server ${name} exited with ${String(code)}`);
      }),
    ]);
    return answer;
  };
  // Safe cast: the process first sends its address. It then replies to each 'cpu' message with its CPU usage.
  const { address } = /** @type {{ address: string }} */ (await nextMessage());
  const client = openClient(address);
  const contender = {
    ...client,
    async cpuUsage() {
      child.send('cpu');
      return /** @type {NodeJS.CpuUsage} */ (await nextMessage());
    },
    async close() {
      client.close();
      child.disconnect();
      await exited;
    },
  };
  try {
    await verifyResponse(contender);
  } catch (error) {
    await contender.close();
    throw new Error(`${name} returned a wrong response`, { cause: error });
  }
  return contender;
}

/**
 * Verifies the response, because servers are comparable only if they do the same work. Also opens the connection.
 *
 * @param {import('../contenders.mjs').Contender} contender
 * @returns {Promise<void>}
 */
function verifyResponse(contender) {
  return new Promise((resolve, reject) => {
    contender.get(ORDER_ID, (error, order) => {
      if (order?.id === ORDER_ID) resolve();
      else reject(new Error(`expected the order ${ORDER_ID}, got ${JSON.stringify(error ?? order)}`));
    });
  });
}
