// Starts the programs of the examples for their tests, as you would start them.
import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../test/support/bundled.js';

const TYPESCRIPT = new URL('../test/support/typescript.mjs', import.meta.url).href;

/**
 * Starts `script`, such as 'first-call/main.ts', in its own process, in the root of the repository. Its first argument is the port on which
 * it must listen, and it must print a line with 'listening on <host>:<port>'. A program of the list in test/support/bundle-children.ts
 * starts four times as fast.
 */
export function startProgram(script: string, env: Readonly<Record<string, string>> = {}): Promise<ChildServer> {
  const path = bundled(new URL(script, import.meta.url));
  return ChildServer.start({
    script: path,
    args: (port) => [String(port)],
    env: { NO_COLOR: '1', ...env },
    execArgv: path.endsWith('.ts') ? ['--import', TYPESCRIPT] : [],
    readyTimeoutMs: 60_000,
  });
}
