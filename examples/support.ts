// Starts the programs of the examples for their tests, and generates code, as you would.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../test/support/bundled.js';

const TYPESCRIPT = new URL('../test/support/typescript.mjs', import.meta.url).href;

/**
 * Starts `script`, such as 'first-call/main.ts', in its own process, in the root of the repository. Its first argument is the port on which
 * it must listen, and it must print a line with 'listening on <host>:<port>'. A program that test/support/bundle-children.ts lists starts
 * four times as fast.
 *
 * @param agent a module to load first, which finds the packages of the program unbundled
 */
export function startProgram(
  script: string,
  env: Readonly<Record<string, string>> = {},
  agent?: string,
): Promise<ChildServer> {
  const source = new URL(script, import.meta.url);
  const path = agent === undefined ? bundled(source) : fileURLToPath(source);
  const modules = [...(path.endsWith('.ts') ? [TYPESCRIPT] : []), ...(agent === undefined ? [] : [agent])];
  return ChildServer.start({
    script: path,
    args: (port) => [String(port)],
    env: { NO_COLOR: '1', ...env },
    execArgv: modules.flatMap((module) => ['--import', module]),
    readyTimeoutMs: 60_000,
  });
}

/** Files of `gen/` in `folder`, by name: as they are, and as `npx buf generate` writes them now. */
export function generatedCode(folder: string): Readonly<Record<'committed' | 'generated', Record<string, string>>> {
  const output = mkdtempSync(join(tmpdir(), 'generated-'));
  try {
    const bin = join(import.meta.dirname, '../node_modules/.bin');
    // buf finds its plugins through PATH, which npx sets the same way.
    const env = { ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) };
    execFileSync(join(bin, 'buf'), ['generate', '--output', output], { cwd: folder, env, stdio: 'pipe' });
    return { committed: textsIn(join(folder, 'gen')), generated: textsIn(join(output, 'gen')) };
  } finally {
    rmSync(output, { recursive: true });
  }
}

const textsIn = (folder: string) =>
  Object.fromEntries(readdirSync(folder).map((file) => [file, readFileSync(join(folder, file), 'utf8')]));
