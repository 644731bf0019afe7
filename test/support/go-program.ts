import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GO_PATH } from './programs.js';

/** Timeout of a build, which takes 15 s of CPU time without Go's build cache, and 2 s with it. */
const BUILD_TIMEOUT_MS = 240_000;

const built = new Map<string, Promise<string>>();

/** Builds the Go file `source`, once per process. Resolves to the path of the program. */
export function goProgram(source: string): Promise<string> {
  const building = built.get(source) ?? build(source);
  built.set(source, building);
  return building;
}

async function build(source: string): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'go-program-'));
  process.once('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  const program = join(folder, 'program');
  // With the lock, test processes build a source one after another, so that all except the first use Go's build cache.
  await promisify(execFile)('flock', [source, 'go', 'build', '-o', program, source], {
    env: { ...process.env, GO111MODULE: 'off', GOPATH: GO_PATH },
    timeout: BUILD_TIMEOUT_MS,
  });
  return program;
}
