// Starts the programs of the examples for their tests, as you would start them.
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
