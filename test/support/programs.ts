import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';

const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The Python that Debian's python3-grpcio is installed for. */
export const PYTHON = '/usr/bin/python3';

/** Path of Chromium; `undefined` if it is not installed, or if the environment has an empty CHROMIUM. */
export const CHROMIUM = (process.env['CHROMIUM'] ?? CHROMIUM_PATHS.find((path) => existsSync(path))) || undefined;

/** A program that some tests use where it is installed. */
export type OptionalProgram = 'Chromium' | 'grpcio' | 'nginx' | 'haproxy';

const succeeds = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args).status === 0;

const IS_INSTALLED: Readonly<Record<OptionalProgram, () => boolean>> = {
  Chromium: () => CHROMIUM !== undefined,
  grpcio: () => succeeds(PYTHON, '-c', 'import grpc'),
  nginx: () => succeeds('nginx', '-v'),
  haproxy: () => succeeds('haproxy', '-v'),
};

const DEBIAN_PACKAGES: Readonly<Record<OptionalProgram, string>> = {
  Chromium: 'chromium',
  grpcio: 'python3-grpcio',
  nginx: 'nginx-light',
  haproxy: 'haproxy',
};

const found = new Map<OptionalProgram, boolean>();

/** True if this machine has `program`; looks once. */
export function isInstalled(program: OptionalProgram): boolean {
  const known = found.get(program) ?? IS_INSTALLED[program]();
  found.set(program, known);
  return known;
}

/** Missing programs with their Debian packages: 'nginx (nginx-light)'. */
export function missingPrograms(): readonly string[] {
  return (Object.keys(IS_INSTALLED) as OptionalProgram[])
    .filter((program) => !isInstalled(program))
    .map((program) => `${program} (${DEBIAN_PACKAGES[program]})`);
}

/** Arguments of vitest's `skip` for a test that needs `program`. */
export function skipWithout(program: OptionalProgram): [condition: boolean, note: string] {
  return [!isInstalled(program), `${program} is not installed (Debian: ${DEBIAN_PACKAGES[program]})`];
}
