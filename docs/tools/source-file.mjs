import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** Root of the workspace. */
export const ROOT = dirname(dirname(import.meta.dirname));

const LIBRARY = 'libs/resilient-grpc/src';

/**
 * Parses a source file of the library. Does not require a build.
 *
 * @param {string} path relative to the library's sources
 */
export function sourceFile(path) {
  const text = readFileSync(join(ROOT, LIBRARY, path), 'utf8');
  return ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true);
}
