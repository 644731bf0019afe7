import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** Root of the workspace. */
export const ROOT = dirname(dirname(import.meta.dirname));

const LIBRARY = 'libs/resilient-grpc/src';

/**
 * A source of the library, parsed. Its text is enough: nothing has to be built before the docs.
 *
 * @param {string} path below the library's sources
 */
export function sourceFile(path) {
  const text = readFileSync(join(ROOT, LIBRARY, path), 'utf8');
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}
