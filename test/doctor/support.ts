import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { runDoctor } from '../../libs/resilient-grpc/dist/doctor/run-doctor.js';

/** Path of the built `nestjs-resilient-grpc` command. */
export const COMMAND = fileURLToPath(
  new URL('../../libs/resilient-grpc/bin/nestjs-resilient-grpc.js', import.meta.url),
);

/** Exit code and output of the command. */
export interface DoctorRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One check in the `--json` output. */
export interface CheckResult {
  readonly check: string;
  readonly status: string;
  readonly message: string;
  readonly remedy?: string;
  readonly problems?: readonly { readonly path: string; readonly message: string }[];
  readonly facts: Readonly<Record<string, any>>;
}

/** Working directory and environment of a run. */
export interface DoctorEnvironment {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs the built `nestjs-resilient-grpc` command until it exits. */
export function command(args: readonly string[], { cwd, env }: DoctorEnvironment = {}): Promise<DoctorRun> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [COMMAND, ...args],
      { encoding: 'utf8', cwd, env: { ...process.env, ...env }, timeout: 60_000 },
      (error, stdout, stderr) => {
        // A numeric code means that the command exited. Otherwise, it did not start, or it was killed, usually by the timeout above.
        if (error !== null && typeof error.code !== 'number')
          reject(new Error('the command did not start, or did not exit within 60 s', { cause: error }));
        else resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      },
    );
  });
}

/** Runs the command in this process, or in a child process if `environment` is given. */
export async function run(args: readonly string[], environment?: DoctorEnvironment): Promise<DoctorRun> {
  if (environment !== undefined) return command(args, environment);
  const written = { stdout: '', stderr: '' };
  const into = (stream: keyof typeof written) => ({ write: (text: string) => (written[stream] += text) });
  const code = await runDoctor(args, { env: process.env, stdout: into('stdout'), stderr: into('stderr') });
  return { code, ...written };
}

/** Runs the doctor and parses its `--json` output. */
export async function doctor(
  args: readonly string[],
  environment?: DoctorEnvironment,
): Promise<{ readonly code: number; readonly checks: readonly CheckResult[]; of(check: string): CheckResult }> {
  const { code, stdout, stderr } = await run(['doctor', ...args, '--json'], environment);
  if (stderr !== '') throw new Error(stderr);
  const { checks } = JSON.parse(stdout) as { readonly checks: readonly CheckResult[] };
  const of = (check: string): CheckResult => {
    const found = checks.find((one) => one.check === check);
    if (found === undefined) throw new Error(`expected the check '${check}', got ${stdout}`);
    return found;
  };
  return { code, checks, of };
}

/** Creates a file in a temporary folder, which is removed after the test. */
export function createFile(name: string, content: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}
