import { fileURLToPath } from 'node:url';
import { startChild } from '../memory/child.mjs';

/** @typedef {import('../memory/child.mjs').Child} Child */

const SCRIPT = fileURLToPath(new URL('./contender-process.mjs', import.meta.url));

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
export async function withContenders(entries, address, work, flags) {
  const children = new Map(entries.map(({ name }) => [name, startChild(SCRIPT, [name, address], flags)]));
  try {
    return await work(children);
  } finally {
    await Promise.all([...children.values()].map((child) => child.stop()));
  }
}
