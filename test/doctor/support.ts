import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { runDoctor } from '../../libs/resilient-grpc/dist/doctor/run-doctor.js';

const COMMAND = fileURLToPath(new URL('../../libs/resilient-grpc/bin/nestjs-resilient-grpc.js', import.meta.url));

/** A run of the command. */
export interface DoctorRun {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** One check, as `--json` has it. */
export interface ToldCheck {
  readonly check: string;
  readonly status: string;
  readonly says: string;
  readonly remedy?: string;
  readonly problems?: readonly { readonly path: string; readonly message: string }[];
  readonly facts: Readonly<Record<string, any>>;
}

/** How it is run. */
export interface DoctorPlace {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

/** Runs `nestjs-resilient-grpc` to its end, as it was built. */
export function command(args: readonly string[], { cwd, env }: DoctorPlace = {}): Promise<DoctorRun> {
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [COMMAND, ...args],
      { encoding: 'utf8', cwd, env: { ...process.env, ...env }, timeout: 60_000 },
      (error, stdout, stderr) => {
        // It has ended by itself, with this code; or by the time above.
        if (error !== null && typeof error.code !== 'number') reject(new Error('It did not end', { cause: error }));
        else resolve({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr });
      },
    );
  });
}

/** Runs it in this process, which is what its command does and not where it starts; in one of its own where it has a place. */
async function run(args: readonly string[], place?: DoctorPlace): Promise<DoctorRun> {
  if (place !== undefined) return command(args, place);
  const written = { stdout: '', stderr: '' };
  const into = (stream: keyof typeof written) => ({ write: (text: string) => (written[stream] += text) });
  const code = await runDoctor(args, { env: process.env, stdout: into('stdout'), stderr: into('stderr') });
  return { code, ...written };
}

/** What the doctor says of a target, as programs get it. */
export async function doctor(
  args: readonly string[],
  place?: DoctorPlace,
): Promise<{ readonly code: number; readonly checks: readonly ToldCheck[]; of(check: string): ToldCheck }> {
  const { code, stdout, stderr } = await run(['doctor', ...args, '--json'], place);
  if (stderr !== '') throw new Error(stderr);
  const { checks } = JSON.parse(stdout) as { readonly checks: readonly ToldCheck[] };
  const of = (check: string): ToldCheck => {
    const found = checks.find((one) => one.check === check);
    if (found === undefined) throw new Error(`There is no check '${check}' in ${stdout}`);
    return found;
  };
  return { code, checks, of };
}

/** A file in a folder of its own, which is removed after the test. */
export function fileOf(name: string, content: unknown): string {
  const folder = mkdtempSync(join(tmpdir(), 'doctor-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
  });
  const path = join(folder, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}
