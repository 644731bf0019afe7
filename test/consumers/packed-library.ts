import { execFile, execFileSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { promisify } from 'node:util';

/** Root of the workspace. */
export const ROOT = dirname(dirname(import.meta.dirname));

/** Time in milliseconds after which a program is killed. Only a hanging program reaches this limit. */
export const RUN_LIMIT_MS = 300_000;

/** The library as npm would publish it. */
export interface PackedLibrary {
  readonly tarball: string;
  /** Paths inside the package, sorted. */
  readonly files: readonly string[];
  /** Folder of the unpacked package. */
  readonly folder: string;
  remove(): void;
}

/**
 * Builds and packs the library in a temporary folder, without network access. Recompiles only outdated outputs if the workspace's build
 * is complete.
 */
export function packLibrary(): PackedLibrary {
  const temporary = mkdtempSync(join(tmpdir(), 'packed-'));
  const library = join(temporary, 'workspace/libs/resilient-grpc');
  for (const path of [
    'tsconfig.base.json',
    'README.md',
    'CHANGELOG.md',
    'LICENSE',
    'SECURITY.md',
    'docs',
    'tools',
    'libs/resilient-grpc',
  ])
    if (existsSync(join(ROOT, path)))
      cpSync(join(ROOT, path), join(temporary, 'workspace', path), {
        recursive: true,
        // The compiler compares timestamps to find outdated outputs.
        preserveTimestamps: true,
        filter: (source) => !/\/(dist|node_modules)$/.test(source),
      });
  copyBuild(library);
  symlinkSync(join(ROOT, 'node_modules'), join(temporary, 'workspace/node_modules'));
  // Type checks would double the time and do not change the output. The build of the workspace checks the types.
  run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b', '--noCheck'], library);
  const printed = run('npm', ['pack', '--json', '--offline', '--pack-destination', temporary], library);
  // Scripts of the package may print lines before npm does.
  const [packed] = JSON.parse(printed.slice(printed.indexOf('[\n'))) as [
    { filename: string; files: { path: string }[] },
  ];
  const tarball = join(temporary, packed.filename);
  const folder = join(temporary, 'package');
  run('tar', ['-xzf', tarball, '-C', temporary], temporary);
  return {
    tarball,
    files: packed.files.map(({ path }) => path).sort(),
    folder,
    remove: () => rmSync(temporary, { recursive: true }),
  };
}

/**
 * Copies the workspace's build to `library` for an incremental compilation, because a full one takes about ten seconds. Copies nothing if
 * an output is missing or belongs to a deleted source.
 */
function copyBuild(library: string): void {
  const dist = join(ROOT, 'libs/resilient-grpc/dist');
  const record = '.tsbuildinfo';
  if (!existsSync(join(dist, record))) return;
  const copy = join(library, 'dist');
  const filter = (source: string) => source !== join(dist, record);
  // Copies the build info first, because a concurrent build may replace it. The sources that the other build compiles are newer
  // than the copied build info, so they are compiled again here.
  cpSync(join(dist, record), join(copy, record), { preserveTimestamps: true });
  cpSync(dist, copy, { recursive: true, filter });
  const wanted = filesIn(join(library, 'src'))
    .filter((file) => /(?<!\.spec)\.ts$/.test(file))
    .flatMap((file) => ['.js', '.d.ts'].map((ending) => file.replace(/\.ts$/, ending)));
  const isComplete = [...wanted, record].sort().join() === filesIn(copy).sort().join();
  if (!isComplete) rmSync(copy, { recursive: true });
}

/** Returns the paths of all files inside `folder`, relative to it. */
function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)));
}

/** Packs the library again under another version, for a second copy in one application. Returns its tarball. */
export function packAgain(packed: PackedLibrary, version: string): string {
  const folder = join(dirname(packed.folder), version);
  cpSync(packed.folder, folder, { recursive: true });
  const path = join(folder, 'package.json');
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), version }));
  const name = run('npm', ['pack', '--offline', '--ignore-scripts', '--silent'], folder).trim();
  return join(folder, name);
}

/** A separate application that has installed the packed library. */
export interface Consumer {
  readonly folder: string;
  /** Compiles `tsConfig` (a path inside the application). Throws with the output of the compiler if the compilation fails. */
  compile(tsConfig: string): void;
  /** Runs `node` with these arguments in the application's folder and returns its output. */
  node(...args: string[]): string;
  /** Like `node`, but asynchronous, so that several programs can run at once. */
  nodeAsync(...args: string[]): Promise<string>;
  remove(): void;
}

/** Contents of an application besides the library. */
export interface Installation {
  /** Files and folders of the workspace to copy into the application. */
  readonly copied: readonly string[];
  /** Packages to omit, such as an optional peer. */
  readonly without?: readonly string[];
  readonly nest?: 11 | 12;
}

/** Creates an application with `packed`. All other packages are links to the workspace, so that nothing is downloaded. */
export function consumerOf(packed: PackedLibrary, { copied, without = [], nest = 12 }: Installation): Consumer {
  const folder = mkdtempSync(join(tmpdir(), 'consumer-'));
  const modules = join(folder, 'node_modules');
  const nest11 = join(ROOT, 'test/nest-11/node_modules');
  for (const name of packagesIn(join(ROOT, 'node_modules'))) {
    if (name === 'nestjs-resilient-grpc' || without.includes(name)) continue;
    const from = nest === 11 && existsSync(join(nest11, name)) ? nest11 : join(ROOT, 'node_modules');
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(from, name), join(modules, name));
  }
  cpSync(packed.folder, join(modules, 'nestjs-resilient-grpc'), { recursive: true });
  for (const path of copied) cpSync(join(ROOT, path), join(folder, path), { recursive: true });
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'consumer', private: true, type: 'module' }));
  return {
    folder,
    compile: (tsConfig) =>
      void run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-p', tsConfig], folder),
    node: (...args) => run(process.execPath, args, folder),
    nodeAsync: async (...args) => {
      try {
        const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: folder, timeout: RUN_LIMIT_MS });
        return stdout;
      } catch (error) {
        // The cast is safe because execFile rejects with these properties.
        const { killed, stdout, stderr } = error as { killed: boolean; stdout: string; stderr: string };
        throw new Error(
          `node ${args[0]} ${killed ? `did not end within ${RUN_LIMIT_MS / 1_000} s` : 'failed'}\n${stdout}${stderr}`,
        );
      }
    },
    remove: () => rmSync(folder, { recursive: true }),
  };
}

function packagesIn(modules: string): string[] {
  return readdirSync(modules)
    .filter((name) => !name.startsWith('.'))
    .flatMap((name) =>
      name.startsWith('@') ? readdirSync(join(modules, name)).map((inner) => `${name}/${inner}`) : [name],
    );
}

/** Runs a program and returns its output. Throws with the output if the program fails. */
export function run(command: string, args: readonly string[], cwd: string): string {
  try {
    return execFileSync(command, args, { cwd, encoding: 'utf8', stdio: 'pipe', timeout: RUN_LIMIT_MS });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    throw new Error(`${command} ${args.join(' ')} failed in ${cwd}\n${stdout}${stderr}`);
  }
}
