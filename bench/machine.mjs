import { readFileSync } from 'node:fs';
import os from 'node:os';

/**
 * The machine, time, and versions of a measurement.
 *
 * @typedef {object} Machine
 * @property {string} date
 * @property {string} node
 * @property {string} os
 * @property {string} cpu
 * @property {number} cores
 * @property {Readonly<Record<string, string>>} versions Versions of the contenders' packages.
 */

/**
 * @param {readonly { readonly packages: readonly string[] }[]} entries
 * @returns {Machine}
 */
export function describeMachine(entries) {
  return {
    date: new Date().toISOString(),
    node: process.version,
    os: `${os.type()} ${os.release()} ${os.arch()}`,
    cpu: os.cpus()[0]?.model.trim() ?? 'unknown',
    cores: os.availableParallelism(),
    versions: Object.fromEntries(entries.flatMap(({ packages }) => packages.map((name) => [name, versionOf(name)]))),
  };
}

/**
 * @param {string} name
 * @returns {string}
 */
function versionOf(name) {
  // Read by path, because most packages do not export their package.json.
  const file = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  const { version } = /** @type {{ version: string }} */ (JSON.parse(readFileSync(file, 'utf8')));
  return version;
}
