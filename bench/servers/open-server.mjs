import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { open as openClient } from '../contenders/grpc-js-channel.mjs';
import { ORDER_ID } from '../contract.mjs';

/**
 * Starts a server in a process of its own, and a client of it that costs as little as one can.
 *
 * @param {import('./measure.mjs').ServerEntry['name']} name
 * @param {readonly string[]} execArgv Flags of Node for the server.
 * @returns {Promise<import('../contenders.mjs').Contender>}
 */
export async function openServer(name, execArgv) {
  const child = fork(fileURLToPath(new URL('./server-process.mjs', import.meta.url)), [name], {
    execArgv: [...execArgv],
    // Whatever the server has to say, standard output belongs to the report.
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  const exited = once(child, 'exit');
  const ask = async () => {
    const [answer] = await Promise.race([
      once(child, 'message'),
      exited.then(([code]) => {
        throw new Error(`The server ${name} ended with ${String(code)}`);
      }),
    ]);
    return answer;
  };
  // True: the process says first where it listens, and then its CPU time each time it is asked.
  const { address } = /** @type {{ address: string }} */ (await ask());
  const client = openClient(address);
  const contender = {
    ...client,
    async cpuUsage() {
      child.send('cpu');
      return /** @type {NodeJS.CpuUsage} */ (await ask());
    },
    async close() {
      client.close();
      child.disconnect();
      await exited;
    },
  };
  try {
    await answersRight(contender);
  } catch (error) {
    await contender.close();
    throw new Error(`${name} does not do what it should`, { cause: error });
  }
  return contender;
}

/**
 * Who does other work than the rest must not be compared with them. Also opens the connection.
 *
 * @param {import('../contenders.mjs').Contender} contender
 * @returns {Promise<void>}
 */
function answersRight(contender) {
  return new Promise((resolve, reject) => {
    contender.get(ORDER_ID, (error, order) => {
      if (order?.id === ORDER_ID) resolve();
      else reject(new Error(`expected the order ${ORDER_ID}, got ${JSON.stringify(error ?? order)}`));
    });
  });
}
