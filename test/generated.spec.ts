import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';

const ROOT = dirname(import.meta.dirname);

/** Contents of all files below `folder` by relative path. */
function contentsOf(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')]));
}

it('keeps src/gen up to date with protos/ (`npm run gen` regenerates it)', () => {
  const output = mkdtempSync(join(tmpdir(), 'generated-'));
  onTestFinished(() => rmSync(output, { recursive: true }));
  const bin = join(ROOT, 'node_modules/.bin');
  // buf finds the plugin through PATH, which npm sets the same way for scripts.
  const env = { ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) };
  execFileSync(join(bin, 'buf'), ['generate', '--output', output], { cwd: ROOT, env, stdio: 'pipe' });
  expect(contentsOf(join(output, 'src/gen'))).toEqual(contentsOf(join(ROOT, 'src/gen')));
});
