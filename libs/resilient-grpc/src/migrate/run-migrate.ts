import { readFileSync, writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import { parseArgs } from 'node:util';
import { closest } from '../errors/closest.js';
import { findSources } from './find-sources.js';
import type { Migration, Remark } from './migration.js';
import { unifiedDiff } from './unified-diff.js';
import { errorMessage, isError } from '../errors/error-message.js';

/** The parts of `process` that the command uses. */
export interface MigrateTerminal {
  readonly stdout: { write(text: string): unknown };
  readonly stderr: { write(text: string): unknown };
}

/**
 * Command that installs this library first and ts-morph second, because `npm i` removes packages that were not saved. 28 is the tested
 * major version of ts-morph.
 */
const INSTALL = 'npm i nestjs-resilient-grpc && npm i --no-save ts-morph@28';

const HELP = `Usage: nestjs-resilient-grpc migrate [paths] [options]

Rewrites the gRPC clients of ClientsModule.register() and registerAsync() to ResilientGrpcModule.forFeature() and forFeatureAsync().
[paths] are files or folders with TypeScript; the default is the current folder. Each file is compiled with its nearest tsconfig.json. A
registration is rewritten only if that causes no new compiler error. Clients with other transports are not changed. Prints the changes
as a diff, and lists what you must change by hand.

  --write                  write the changes
  --help                   print this help

Requires nestjs-resilient-grpc and ts-morph in node_modules: ${INSTALL}
Exit code: 0 after a complete run, even if it lists changes to make by hand; 2 for invalid usage or a missing package.`;

const OK = 0;
const WRONG_USAGE = 2;
const OPTIONS = { write: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } } as const;

/** Runs `nestjs-resilient-grpc migrate` with these arguments and returns its exit code. */
export async function runMigrate(args: readonly string[], { stdout, stderr }: MigrateTerminal): Promise<number> {
  const fail = (message: string) => {
    stderr.write(`${message}\n`);
    return WRONG_USAGE;
  };
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    return fail(`arguments: ${problemOf(error)}\nsee nestjs-resilient-grpc migrate --help`);
  }
  const { values, positionals } = parsed;
  if (values.help === true) {
    stdout.write(`${HELP}\n`);
    return OK;
  }
  let sources;
  try {
    sources = findSources(positionals.length === 0 ? ['.'] : positionals);
  } catch (error) {
    return fail(`paths: ${errorMessage(error)}`);
  }
  const migrations: Migration[] = [];
  if (sources.groups.length > 0) {
    const compiler = await loadMigration();
    if (compiler === undefined)
      return fail(
        `migrate requires ts-morph next to nestjs-resilient-grpc; run ${INSTALL} && npx nestjs-resilient-grpc migrate`,
      );
    const { migrate, MissingPackage } = compiler;
    for (const { tsConfig, paths } of sources.groups) {
      try {
        migrations.push(migrate(tsConfig, paths, sources.all));
      } catch (error) {
        if (!(error instanceof MissingPackage)) throw error;
        return fail(`${shown(tsConfig)}: ${error.message}; run npm i ${error.packageName}, and run migrate again`);
      }
    }
  }
  const noConfig = sources.withoutConfig.map((path): Remark => ({
    path,
    line: 1,
    text: 'no tsconfig.json in this folder or above it; add one, and run migrate again',
  }));
  const isMoved = migrations.some(({ clients }) => clients > 0);
  const manual = [...migrations.flatMap((one) => [...one.manual, ...(isMoved ? one.exports : [])]), ...noConfig];
  for (const { path, before, after } of migrations.flatMap(({ changed }) => changed)) {
    stdout.write(`${unifiedDiff(shown(path), before, after)}\n`);
    if (values.write === true) writeFileSync(path, byteOrderMark(path, after) + after);
  }
  stdout.write(summaryOf(migrations, manual, values.write === true));
  return OK;
}

/** Returns the module that uses ts-morph; `undefined` if ts-morph is not installed. */
async function loadMigration() {
  try {
    return await import('./migration.js');
  } catch (error) {
    if (
      isError(error) &&
      'code' in error &&
      error.code === 'ERR_MODULE_NOT_FOUND' &&
      error.message.includes("'ts-morph'")
    )
      return undefined;
    throw error;
  }
}

/** Returns the byte order mark if the file has one and `text` does not; otherwise, the empty string. */
function byteOrderMark(path: string, text: string): string {
  const mark = '\uFEFF';
  return readFileSync(path, 'utf8').startsWith(mark) && !text.startsWith(mark) ? mark : '';
}

function summaryOf(migrations: readonly Migration[], manual: readonly Remark[], isWritten: boolean): string {
  const clients = migrations.reduce((sum, one) => sum + one.clients, 0);
  const files = migrations.flatMap(({ changed }) => changed).length;
  const notes = migrations.flatMap((one) => one.notes);
  const moved = `${count(clients, 'client')} in ${count(files, 'file')}`;
  const lines = [isWritten ? `${moved} rewritten` : `${moved} to rewrite; nothing is written without --write`];
  if (notes.length > 0) lines.push('', 'Also changed:', ...notes.map(lineOf));
  if (manual.length > 0) lines.push('', 'Change by hand:', ...manual.map(lineOf));
  if (clients > 0)
    lines.push(
      '',
      'Next: read docs/differences.md in the package, and make sure that main.ts calls app.enableShutdownHooks().',
    );
  return `${lines.join('\n')}\n`;
}

const lineOf = ({ path, line, text }: Remark) => `${shown(path)}:${String(line)}: ${text}`;
const count = (number: number, what: string) => `${String(number)} ${what}${number === 1 ? '' : 's'}`;
const shown = (path: string) => relative(process.cwd(), path);

/** Shortens Node's long error message to its first sentence, and suggests the closest name for an unknown option. */
function problemOf(error: unknown): string {
  const text = errorMessage(error);
  const option = /^Unknown option '--([\w-]+)/.exec(text)?.[1];
  const meant = option === undefined ? undefined : closest(option, Object.keys(OPTIONS));
  const [first = text] = text.split('. ');
  return meant === undefined ? first : `${first}; did you mean --${meant}?`;
}
