import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { onTestFinished } from 'vitest';
import { command, type DoctorRun } from '../doctor/support.js';

const ROOT = dirname(dirname(import.meta.dirname));

const COMPILER_OPTIONS = {
  target: 'ES2023',
  module: 'nodenext',
  types: ['node'],
  strict: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  skipLibCheck: true,
  rootDir: 'src',
  outDir: 'dist',
};

/** A CommonJS application in a separate folder. */
export class Application {
  private readonly folder = realpathSync(mkdtempSync(join(tmpdir(), 'migrate-')));

  /** @param modules folder with the packages of the application */
  constructor(modules: string, files: Readonly<Record<string, string>>) {
    onTestFinished(() => rmSync(this.folder, { recursive: true }));
    symlinkSync(modules, join(this.folder, 'node_modules'));
    const config = { compilerOptions: COMPILER_OPTIONS, include: ['src'] };
    const all = { 'package.json': '{}', 'tsconfig.json': JSON.stringify(config), ...files };
    for (const [path, text] of Object.entries(all)) {
      mkdirSync(dirname(join(this.folder, path)), { recursive: true });
      writeFileSync(join(this.folder, path), text);
    }
  }

  /** Runs `nestjs-resilient-grpc migrate` with these arguments. */
  migrate(...args: readonly string[]): Promise<DoctorRun> {
    return command(['migrate', ...args], { cwd: this.folder });
  }

  /** Creates a symbolic link. */
  link(path: string, target: string): void {
    symlinkSync(target, join(this.folder, path));
  }

  read(path: string): string {
    return readFileSync(join(this.folder, path), 'utf8');
  }

  /** Compiles the application; throws with the compiler's output if the compilation fails. */
  async compile(): Promise<void> {
    await this.node({}, join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', '.');
  }

  /** Runs git in the folder of the application, and returns stdout. */
  async git(...args: readonly string[]): Promise<string> {
    const identity = ['-c', 'user.name=test', '-c', 'user.email=test@example.org'];
    return (await promisify(execFile)('git', [...identity, ...args], { cwd: this.folder })).stdout;
  }

  /** Commits all files. */
  async commit(): Promise<void> {
    await this.git('init', '-q');
    await this.git('add', '.');
    await this.git('commit', '-qm', 'test');
  }

  /** Commits all files, then changes one. */
  async change(path: string): Promise<void> {
    await this.commit();
    writeFileSync(join(this.folder, path), `${this.read(path)}\n`);
  }

  /** Commits all files but one, which git ignores. */
  async ignore(path: string): Promise<void> {
    writeFileSync(join(this.folder, '.gitignore'), path);
    await this.commit();
  }

  /** Runs `node` in the folder of the application and returns stdout; throws with stdout and stderr if `node` fails. */
  async node(env: Readonly<Record<string, string>>, ...args: readonly string[]): Promise<string> {
    try {
      const options = { cwd: this.folder, env: { ...process.env, ...env } };
      return (await promisify(execFile)(process.execPath, args, options)).stdout;
    } catch (error) {
      const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string };
      throw new Error(`node ${args.join(' ')} failed\n${stdout}${stderr}`, { cause: error });
    }
  }
}
