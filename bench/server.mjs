import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

/**
 * Starts the server in a separate process.
 *
 * @returns {Promise<{ readonly address: string, stop(): void }>}
 */
export async function startServer() {
  const child = fork(fileURLToPath(new URL('./server-process.mjs', import.meta.url)), {
    // Flags such as --cpu-prof must apply only to the client.
    execArgv: [],
    // Keeps standard output for the report.
    stdio: ['ignore', 2, 2, 'ipc'],
  });
  const port = await Promise.race([
    once(child, 'message').then((message) => Number(message[0])),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the benchmark server exited with ${String(code)} before it listened`);
    }),
  ]);
  return {
    address: `127.0.0.1:${String(port)}`,
    stop() {
      child.disconnect();
    },
  };
}
