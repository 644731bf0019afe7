import { fileURLToPath } from 'node:url';
import { startChild } from '../memory/child.mjs';

/** @typedef {import('../memory/child.mjs').Child} Child */

const SCRIPT = fileURLToPath(new URL('./contender-process.mjs', import.meta.url));

/**
 * Contenders, each in a process of its own, for as long as `work` takes.
 *
 * @template T
 * @param {readonly { readonly name: string }[]} entries
 * @param {string} address
 * @param {(children: ReadonlyMap<string, Child>) => Promise<T>} work By name.
 * @param {readonly string[]} [flags] Of Node.
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
