import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { errorMessage, isError } from '../errors/error-message.js';
import { counted } from '../telemetry/log/log-text.js';
import type { Migration, Remark } from './migration.js';

export interface MigrateTerminal {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/** 28 is the tested major version of ts-morph. Each package manager installs it next to the library if it is a dev dependency. */
const INSTALL = 'npm i -D ts-morph@28 (or pnpm add -D, yarn add -D)';

const HELP = `Usage: nestjs-resilient-grpc migrate [paths] [options]

Moves the gRPC clients of ClientsModule.register() and registerAsync() to ResilientGrpcModule.forFeature() and forFeatureAsync(), and
corrects the imports. [paths] are files or folders with TypeScript; the default is the current folder. Each file is compiled with its
nearest tsconfig.json, and a registration that would cause a new compiler error stays as it is. Other transports are not changed. Lists
what you must change by hand.

The files must be committed to git, so that git diff shows the changes and git checkout undoes them.

  --dry-run                only list the clients, and what to change by hand
  --force                  write even if git cannot undo the changes
  --help                   print this help

Requires nestjs-resilient-grpc in the dependencies, and ts-morph until you have migrated: ${INSTALL}
Exit code: 0 after a complete run, even if it lists changes to make by hand; 2 if nothing was done.`;

const OK = 0;
const NOTHING_DONE = 2;
const OPTIONS = {
  'dry-run': { type: 'boolean' },
  force: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;
const SKIPPED = new Set(['node_modules', 'dist', 'coverage']);
const HAS_CLIENTS = /\bClientsModule\b|\bClientProxyFactory\b|@Client\(/;

export async function runMigrate(args: readonly string[], { stdout, stderr }: MigrateTerminal): Promise<number> {
  const fail = (message: string) => {
    stderr.write(`${message}\n`);
    return NOTHING_DONE;
  };
  let parsed;
  let groups;
  try {
    parsed = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
    groups = sourcesIn(parsed.positionals.length === 0 ? ['.'] : parsed.positionals);
  } catch (error) {
    // Node's messages about options continue with advice about positional arguments.
    return fail(`${errorMessage(error).split('. ')[0] ?? ''}\nsee nestjs-resilient-grpc migrate --help`);
  }
  const { help = false, force = false, 'dry-run': isDryRun = false } = parsed.values;
  if (help) {
    stdout.write(`${HELP}\n`);
    return OK;
  }
  const migrations: Migration[] = [];
  for (const [tsConfig, paths] of groups) {
    const compiler = await loadMigration();
    if (compiler === undefined)
      return fail(`migrate requires ts-morph; run ${INSTALL}, and then npx nestjs-resilient-grpc migrate`);
    const noConfig = { line: 1, text: 'no tsconfig.json in this folder or above it; add one, and run migrate again' };
    const migration =
      tsConfig === undefined
        ? { changed: [], moved: [], manual: paths.map((path) => ({ path, ...noConfig })) }
        : compiler.migrate(tsConfig, paths);
    const { missing } = migration;
    if (missing !== undefined)
      return fail(
        `${shown(tsConfig ?? '')}: cannot find the types of ${missing}; run npm i ${missing}, and run migrate again`,
      );
    migrations.push(migration);
  }
  const moved = migrations.flatMap((one) => one.moved);
  const manual = migrations.flatMap((one) => one.manual).sort(byPlace);
  const changed = migrations.flatMap((one) => one.changed);
  const files = changed.map(({ path }) => shown(path));
  const risk = isDryRun || files.length === 0 ? undefined : undoProblem(files);
  if (risk !== undefined && !force) return fail(`nothing was written: ${risk}, or run migrate with --force`);
  if (!isDryRun)
    for (const { path, text } of changed) {
      const [byteOrderMark = ''] = /^\uFEFF/.exec(readFileSync(path, 'utf8')) ?? [];
      writeFileSync(path, text.replace(/^\uFEFF?/, byteOrderMark));
    }

  const lines = [
    `${counted(moved.length, 'registration')} in ${counted(files.length, 'file')} ${isDryRun ? 'to move (dry run: nothing was written)' : 'moved'}`,
  ];
  lines.push(...moved.map(lineOf));
  if (manual.length > 0) lines.push('', `Change by hand (${String(manual.length)}):`, ...manual.map(lineOf));
  if (!isDryRun && risk === undefined && files.length > 0)
    lines.push(
      '',
      `Look:  git diff -- ${files.map(quoted).join(' ')}`,
      `Undo:  git checkout -- ${files.map(quoted).join(' ')}`,
    );
  if (moved.length > 0 && !isDryRun)
    lines.push(
      '',
      'Next: run your formatter, read node_modules/nestjs-resilient-grpc/docs/from-clients-module.md, and make sure that main.ts calls app.enableShutdownHooks().',
    );
  stdout.write(`${lines.join('\n')}\n`);
  return OK;
}

/**
 * Finds the TypeScript files in `paths` that may define gRPC clients, and groups them by their nearest tsconfig.json.
 *
 * @throws Error if a path does not exist
 */
function sourcesIn(paths: readonly string[]): ReadonlyMap<string | undefined, string[]> {
  const groups = new Map<string | undefined, string[]>();
  for (const path of new Set(paths.flatMap((one) => filesIn(resolve(one), statSync(one).isDirectory())))) {
    if (!HAS_CLIENTS.test(readFileSync(path, 'utf8'))) continue;
    const tsConfig = tsConfigOf(dirname(path));
    groups.set(tsConfig, [...(groups.get(tsConfig) ?? []), path]);
  }
  return groups;
}

function filesIn(path: string, isFolder: boolean): readonly string[] {
  if (!isFolder) return [path];
  return readdirSync(path, { withFileTypes: true }).flatMap((entry) => {
    const inner = join(path, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) || entry.name.startsWith('.') ? [] : filesIn(inner, true);
    // Skips a symbolic link to a file that does not exist.
    return /(?<!\.d)\.[mc]?ts$/.test(entry.name) && existsSync(inner) ? [inner] : [];
  });
}

function tsConfigOf(folder: string): string | undefined {
  const path = join(folder, 'tsconfig.json');
  if (existsSync(path)) return path;
  return dirname(folder) === folder ? undefined : tsConfigOf(dirname(folder));
}

/** Returns the module that uses ts-morph; `undefined` if ts-morph is not installed. */
async function loadMigration() {
  try {
    return await import('./migration.js');
  } catch (error) {
    const isMissing = isError(error) && 'code' in error && error.code === 'ERR_MODULE_NOT_FOUND';
    if (isMissing && error.message.includes("'ts-morph'")) return undefined;
    throw error;
  }
}

/** Returns why git could not undo changes to these files, and what to do; `undefined` if it could. */
function undoProblem(files: readonly string[]): string | undefined {
  const args = ['--literal-pathspecs', 'status', '--porcelain', '--ignored', '--', ...files];
  try {
    const found = execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
    const names = found
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.slice(3));
    return names.length === 0
      ? undefined
      : `git could not undo changes to ${names.join(', ')}; commit the current content first`;
  } catch (error) {
    const [, reason = errorMessage(error)] = /^fatal: (.*)$/m.exec(errorMessage(error)) ?? [];
    return `git could not undo the changes (${reason}); run migrate in a git work tree`;
  }
}

const byPlace = (a: Remark, b: Remark) => a.path.localeCompare(b.path) || a.line - b.line;
const lineOf = ({ path, line, text }: Remark) => `${shown(path)}:${String(line)}: ${text}`;
const shown = (path: string) => relative(process.cwd(), path);
const quoted = (path: string) => (/^[\w./@+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`);
