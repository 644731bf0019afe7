// npm run check:supply-chain: checks the packages that an application installs with the library and the demo. Each license must be in
// `LICENSES`, and only packages in `SCRIPTS` may have an install script. Reads npm's SBOM and the lock file.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Licenses that require no more than a notice. */
const LICENSES = new Set([
  'MIT',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'ISC',
  '0BSD',
  'BlueOak-1.0.0',
  'CC0-1.0',
]);

/** Packages whose manifest has no license that npm can read, with the license in their LICENSE file. */
const READ_BY_HAND = new Map([
  ['busboy', 'MIT'],
  ['streamsearch', 'MIT'],
]);

/**
 * Packages that may have an install script. The script of protobufjs, a dependency of @grpc/proto-loader, only compares versions and warns.
 */
const SCRIPTS = new Set(['protobufjs']);

/** Minimum number of packages in a complete SBOM. */
const MIN_PACKAGES = 50;

const json = (/** @type {string} */ path) => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
/** @typedef {{ dev?: boolean; link?: boolean; hasInstallScript?: boolean }} Locked */
/** @type {{ packages: Record<string, Locked> }} */
const lock = json('package-lock.json');

/**
 * Returns the packages of an application with the dependencies of the demo and the library. The application has no workspaces, because
 * npm's SBOM omits the packages that workspaces share.
 *
 * @returns {readonly { name: string; licenses?: readonly { license?: { id?: string; name?: string }; expression?: string }[] }[]}
 */
function components() {
  const dependencies = {
    ...json('package.json').dependencies,
    ...json('libs/resilient-grpc/package.json').dependencies,
  };
  delete dependencies['nestjs-resilient-grpc'];
  const application = { name: 'application', version: '0.0.0', dependencies };
  const installed = Object.entries(lock.packages).filter(
    ([path, { dev, link }]) => path.startsWith('node_modules/') && !dev && !link,
  );
  const folder = mkdtempSync(join(tmpdir(), 'supply-chain-'));
  try {
    writeFileSync(join(folder, 'package.json'), JSON.stringify(application));
    const packages = { '': application, ...Object.fromEntries(installed) };
    writeFileSync(
      join(folder, 'package-lock.json'),
      JSON.stringify({ ...application, lockfileVersion: 3, requires: true, packages }),
    );
    const args = ['sbom', '--sbom-format=cyclonedx', '--package-lock-only'];
    const text = execFileSync('npm', args, {
      cwd: folder,
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return JSON.parse(text).components;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Returns true if a license expression is allowed. For '(MIT OR CC0-1.0)', one allowed license is enough. An expression with inner
 * parentheses is not allowed.
 * @param {string} expression
 */
function isAllowed(expression) {
  const choices = expression.replace(/^\((.*)\)$/, '$1');
  return (
    !/[()]/.test(choices) &&
    choices.split(' OR ').some((choice) => choice.split(' AND ').every((id) => LICENSES.has(id)))
  );
}

const problems = [];
const found = components();
for (const { name, licenses = [] } of found) {
  const named = licenses.map(({ license, expression }) => expression ?? license?.id ?? license?.name ?? '');
  const expressions = named.length > 0 ? named : [READ_BY_HAND.get(name) ?? 'no license'];
  for (const expression of expressions)
    if (!isAllowed(expression))
      problems.push(
        `${name}: expected a license in LICENSES, got ${expression}; use another package, or review the license and add it to tools/supply-chain.mjs`,
      );
}

for (const [path, { dev, hasInstallScript }] of Object.entries(lock.packages)) {
  const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
  if (hasInstallScript === true && dev !== true && !SCRIPTS.has(name))
    problems.push(
      `${name}: expected no install script, got one; use another package, or review the script and add the package to SCRIPTS`,
    );
}

if (found.length < MIN_PACKAGES)
  problems.push(
    `SBOM: expected at least ${String(MIN_PACKAGES)} packages, got ${String(found.length)}; check package-lock.json and the npm version`,
  );

for (const problem of problems) console.error(problem);
console.log(`${String(found.length)} packages, ${String(problems.length)} problems`);
process.exitCode = problems.length > 0 ? 1 : 0;
