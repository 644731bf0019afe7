import { startChild, withChild } from './child.mjs';

/** @typedef {import('./child.mjs').Child} Child */

/**
 * Starts a process of a contender. It has the Node flags of this process, for example --cpu-prof.
 *
 * @param {string} name
 * @param {string} address Empty for a process that opens its clients on command.
 * @param {readonly string[]} [more] Arguments.
 * @param {readonly string[]} [flags] Node flags.
 */
export function startContender(name, address, more = [], flags = []) {
  const url = new URL('./contender-process.mjs', import.meta.url);
  return startChild(url, [name, address, ...more], [...process.execArgv, ...flags]);
}

/**
 * Runs `work` with contenders in separate processes.
 *
 * @template T
 * @param {readonly { readonly name: string }[]} entries
 * @param {string} address
 * @param {(children: ReadonlyMap<string, Child>) => Promise<T>} work Receives the processes by name.
 * @param {readonly string[]} [flags] Node flags.
 * @returns {Promise<T>}
 */
export async function withContenders(entries, address, work, flags = []) {
  const children = new Map(entries.map(({ name }) => [name, startContender(name, address, [], flags)]));
  try {
    return await work(children);
  } finally {
    await Promise.all([...children.values()].map((child) => child.stop()));
  }
}

/** Starts a process of the server of the client benchmarks, which listens on command. */
export function startServer() {
  return startChild(new URL('./server-process.mjs', import.meta.url));
}

/**
 * Runs `work` with a server that listens.
 *
 * @template T
 * @param {(served: { readonly address: string, readonly server: Child }) => Promise<T>} work
 * @param {boolean} [tls]
 * @returns {Promise<T>}
 */
export function withServer(work, tls = false) {
  return withChild(startServer(), async (server) => {
    const { port } = await server.execute('listen', { port: 0, tls });
    return work({ address: `${tls ? 'tls://' : ''}127.0.0.1:${String(port)}`, server });
  });
}
