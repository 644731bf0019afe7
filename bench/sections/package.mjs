// Measures the installed size of a contender: its own package, and all packages that are installed with it.
import { existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { CLIENT_OPTIONS, chosenContenders } from '../contenders.mjs';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const LIBRARY = join(ROOT, 'libs/resilient-grpc');

/**
 * @typedef {object} Manifest
 * @property {Record<string, string>} [dependencies]
 * @property {Record<string, string>} [peerDependencies]
 * @property {Record<string, { optional?: boolean }>} [peerDependenciesMeta]
 */

/** @type {import('../sections.mjs').BenchSection} */
export const packages = {
  inTable: true,
  defaults: CLIENT_OPTIONS,
  entriesOf: chosenContenders,
  outlineOf: () => ({
    question: 'How much does a client add to node_modules?',
    how: "unpacked size; alone: the client's own package; installed: all packages it adds, including required peer dependencies",
    figures: [
      { name: 'ownKib', title: 'KiB, alone', digits: 0 },
      { name: 'installedKib', title: 'KiB, installed', digits: 0 },
      { name: 'installedPackages', title: 'packages', digits: 0 },
    ],
  }),
  async measure({ entries }) {
    const rows = [];
    for (const { name, packages: named } of entries) {
      const installed = installedWith(named);
      const [own] = named;
      let installedBytes = 0;
      for (const folder of installed) installedBytes += await sizeOf(folder);
      rows.push({
        contender: name,
        ownKib: own === undefined ? 0 : (await sizeOf(folderOf(own, ROOT))) / 1_024,
        installedKib: installedBytes / 1_024,
        installedPackages: installed.size,
      });
    }
    return rows;
  },
};

/**
 * @param {readonly string[]} packages
 * @returns {Set<string>} The folders of the packages, their dependencies, and their required peer dependencies.
 */
function installedWith(packages) {
  /** @type {Set<string>} */
  const folders = new Set();
  /** @param {string} folder */
  const add = (folder) => {
    if (folders.has(folder)) return;
    folders.add(folder);
    /** @type {Manifest} */
    const { dependencies, peerDependencies, peerDependenciesMeta } = JSON.parse(
      readFileSync(join(folder, 'package.json'), 'utf8'),
    );
    const peers = Object.keys(peerDependencies ?? {}).filter((name) => peerDependenciesMeta?.[name]?.optional !== true);
    for (const name of [...Object.keys(dependencies ?? {}), ...peers]) add(folderOf(name, folder));
  };
  for (const name of packages) add(folderOf(name, ROOT));
  return folders;
}

/**
 * Finds the folder of a package in the same way as Node. Does not call `resolve`, because most packages do not export their package.json.
 *
 * @param {string} name
 * @param {string} from
 * @returns {string}
 */
function folderOf(name, from) {
  const folder = join(from, 'node_modules', name);
  if (existsSync(folder)) return realpathSync(folder);
  if (dirname(from) === from) throw new Error(`${name} is not installed; run npm ci`);
  return folderOf(name, dirname(from));
}

/** @type {Map<string, number>} */
const sizes = new Map();

/**
 * @param {string} folder Folder of a package.
 * @returns {Promise<number>} Size in bytes, without nested packages.
 */
async function sizeOf(folder) {
  const known = sizes.get(folder);
  if (known !== undefined) return known;
  const size = folder === LIBRARY ? await packedSize() : sizeOfFiles(folder);
  sizes.set(folder, size);
  return size;
}

/**
 * Packs the library as for publication, because its folder also contains its sources.
 *
 * @returns {Promise<number>} Unpacked size in bytes.
 */
async function packedSize() {
  await import('../../test/support/typescript.mjs');
  const { packLibrary } = await import('../../test/consumers/packed-library.js');
  const packed = packLibrary();
  try {
    return sizeOfFiles(packed.folder);
  } finally {
    packed.remove();
  }
}

/**
 * @param {string} folder
 * @returns {number} Size in bytes, without nested packages.
 */
function sizeOfFiles(folder) {
  return readdirSync(folder, { withFileTypes: true }).reduce((sum, entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? sum : sum + sizeOfFiles(path);
    return entry.isFile() ? sum + statSync(path).size : sum;
  }, 0);
}
