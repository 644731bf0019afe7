import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { GO_PATH } from '../../support/programs.js';

const SOURCE = join(import.meta.dirname, 'orders-grpc-go.go');
/** A cold build takes 15 s of CPU time, one with Go's cache 2 s. */
const BUILT_WITHIN_MS = 240_000;

let built: Promise<string> | undefined;

/** Path of the server built from orders-grpc-go.go; built once per process. */
export function grpcGoServer(): Promise<string> {
  built ??= build();
  return built;
}

async function build(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'orders-grpc-go-'));
  process.once('exit', () => {
    rmSync(folder, { recursive: true, force: true });
  });
  const program = join(folder, 'orders-grpc-go');
  // Only one process at a time can use Go's build cache.
  await promisify(execFile)('flock', [SOURCE, 'go', 'build', '-o', program, SOURCE], {
    env: { ...process.env, GO111MODULE: 'off', GOPATH: GO_PATH },
    timeout: BUILT_WITHIN_MS,
  });
  return program;
}
