// Measures the installed size of a contender: its own package, and all packages that are installed with it.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, realpathSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/**
 * @typedef {object} PackagePlan
 * @property {'package'} bench
 * @property {readonly import('../contenders.mjs').Entry[]} entries
 * @property {boolean} json
 */

/**
 * @typedef {object} Manifest
 * @property {Record<string, string>} [dependencies]
 * @property {Record<string, string>} [peerDependencies]
 * @property {Record<string, { optional?: boolean }>} [peerDependenciesMeta]
 */

/**
 * @param {PackagePlan} plan
 * @returns {import('../report.mjs').Outline}
 */
export function outlineOfPackages({ bench }) {
  return {
    bench,
    question: 'How much does it add to node_modules?',
    how: 'unpacked size; its own package, and all packages installed with it, including required peer dependencies',
    figures: [
      { name: 'ownKib', title: 'KiB, alone', digits: 0 },
      { name: 'installedKib', title: 'KiB, installed', digits: 0 },
      { name: 'installedPackages', title: 'packages', digits: 0 },
    ],
  };
}

/**
 * @param {PackagePlan} plan
 * @returns {readonly import('../report.mjs').Row[]}
 */
export function measurePackages({ entries }) {
  return entries.map(({ name, packages }) => {
    const installed = installedWith(packages);
    const [own] = packages;
    return {
      contender: name,
      ownKib: own === undefined ? 0 : sizeOf(folderOf(own, ROOT)) / 1_024,
      installedKib: [...installed].reduce((sum, folder) => sum + sizeOf(folder), 0) / 1_024,
      installedPackages: installed.size,
    };
  });
}

/**
 * @param {readonly string[]} packages
 * @returns {Set<string>} Their folders and those of their dependencies.
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
  if (dirname(from) === from) throw new Error(`${name} is not installed`);
  return folderOf(name, dirname(from));
}

/** @type {Map<string, number>} */
const sizes = new Map();

/**
 * @param {string} folder Folder of a package.
 * @returns {number} Size in bytes, without nested packages.
 */
function sizeOf(folder) {
  const known = sizes.get(folder);
  if (known !== undefined) return known;
  const size = folder.startsWith(join(ROOT, 'libs')) ? packedSize(folder) : sizeOfFiles(folder);
  sizes.set(folder, size);
  return size;
}

/**
 * Returns the approximate published size of a package of this workspace in bytes. Its folder also contains its sources.
 *
 * @param {string} folder
 * @returns {number}
 */
function packedSize(folder) {
  // Runs no package scripts, because they write files: they remove comments from `dist`, and add the CommonJS build, the changelog, the
  // docs, and the README. Only the size of the README is added below.
  const pack = ['pack', '--dry-run', '--json', '--ignore-scripts', '--loglevel=error'];
  const [{ unpackedSize }] = JSON.parse(execFileSync('npm', pack, { cwd: folder, encoding: 'utf8' }));
  return unpackedSize + statSync(join(ROOT, 'README.md')).size;
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
