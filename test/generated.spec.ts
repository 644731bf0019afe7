import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';

const ROOT = dirname(import.meta.dirname);

/** Text of each file below `folder`, by its path there. */
function textsOf(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  const paths = files.map((entry) => join(entry.parentPath, entry.name)).sort();
  return Object.fromEntries(paths.map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')]));
}

it('src/gen is what `npm run gen` makes of protos/', () => {
  const output = mkdtempSync(join(tmpdir(), 'generated-'));
  onTestFinished(() => rmSync(output, { recursive: true }));
  const bin = join(ROOT, 'node_modules/.bin');
  // The plug-in is found by PATH, as npm sets it for scripts.
  const env = { ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) };
  execFileSync(join(bin, 'buf'), ['generate', '--output', output], { cwd: ROOT, env, stdio: 'pipe' });
  expect(textsOf(join(output, 'src/gen'))).toEqual(textsOf(join(ROOT, 'src/gen')));
});
