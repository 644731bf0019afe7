import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** Time limit of a reproduction in milliseconds; longer than every wait in a reproduction. */
const LIMIT_MS = 150_000;

/**
 * Runs `reproduction`, which resolves to true if `dependency` (a package, or 'node') has the defect. Prints one line and exits the process,
 * because a defect can leave handles open. If the reproduction itself fails, the result is unknown, and the exit status is 1.
 */
export async function reproduce(dependency, reproduction) {
  setTimeout(() => {
    console.error(`no result within ${LIMIT_MS} ms`);
    process.exit(1);
  }, LIMIT_MS);
  try {
    const occurs = await reproduction();
    console.log(`${occurs ? 'defect reproduced' : 'defect no longer occurs'} (${dependency} ${versionOf(dependency)})`);
    process.exit(0);
  } catch (error) {
    console.error(error);
    process.exit(1);
  }
}

function versionOf(dependency) {
  if (dependency === 'node') return process.versions.node;
  const file = createRequire(import.meta.url)
    .resolve.paths(dependency)
    .map((folder) => `${folder}/${dependency}/package.json`)
    .find((path) => readable(path));
  return JSON.parse(readFileSync(file, 'utf8')).version;
}

function readable(path) {
  try {
    readFileSync(path);
    return true;
  } catch {
    return false;
  }
}
