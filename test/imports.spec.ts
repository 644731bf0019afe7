import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

/** Codes of TypeScript's errors about a module that does not exist, and about a name that it does not export. */
const MISSING = [2305, 2307, 2613, 2614, 2724];

it('resolves the imports of programs that are no TypeScript', { timeout: 120_000 }, () => {
  const files = ['bench', 'tools']
    .flatMap((folder) => readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)))
    .filter((path) => path.endsWith('.mjs'));
  const { config } = ts.readConfigFile('tsconfig.base.json', (path) => ts.sys.readFile(path));
  const { options } = ts.convertCompilerOptionsFromJson(config.compilerOptions, '.');
  const program = ts.createProgram(files, { ...options, allowJs: true, checkJs: true, noEmit: true });
  const missing = files
    .flatMap((file) => program.getSemanticDiagnostics(program.getSourceFile(file)))
    .filter(({ code }) => MISSING.includes(code))
    .map(({ file, messageText }) => `${String(file?.fileName)}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
  expect(missing).toEqual([]);
});
