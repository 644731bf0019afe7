import { readFileSync } from 'node:fs';
import { relative } from 'node:path';
import { Project, ts, type SourceFile } from 'ts-morph';
import { Compiler } from './compiler.js';
import { withImports } from './import-text.js';
import { exportEdits, findRegistrations, NEST_PACKAGE, type ManualStep, type Registration } from './registrations.js';
import { applyEdits } from './text-edits.js';

const LIBRARY = 'nestjs-resilient-grpc';

/** A file whose content changes. */
export interface ChangedFile {
  readonly path: string;
  readonly before: string;
  readonly after: string;
}

/** A remark about one place in the code, such as a change to make by hand. */
export interface Remark {
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

export interface Migration {
  readonly changed: readonly ChangedFile[];
  /** Number of migrated clients. */
  readonly clients: number;
  readonly manual: readonly Remark[];
  /** Modules whose exports must be changed by hand if any client is migrated, even one in a file with another tsconfig.json. */
  readonly exports: readonly Remark[];
  readonly notes: readonly Remark[];
}

/** Thrown if the types of a package cannot be found. */
export class MissingPackage extends Error {
  constructor(readonly packageName: string) {
    super(`cannot find the types of ${packageName}`);
  }
}

/**
 * Rewrites the gRPC clients in `paths`, which share their nearest tsconfig.json. `others` are files that may use the constants of these
 * clients; those that contain the name of a changed constant are compiled, too.
 *
 * @throws MissingPackage
 */
export function migrate(tsConfig: string, paths: readonly string[], others: readonly string[]): Migration {
  const project = openProject(tsConfig);
  const files = paths.map((path) => project.addSourceFileAtPath(path));
  for (const name of [NEST_PACKAGE, LIBRARY]) requirePackage(project, name, paths[0] ?? tsConfig);

  const found = files.map((file) => ({ file, ...findRegistrations(file) }));
  const registrations = found.flatMap((one) => one.registrations);
  const manual: ManualStep[] = found.flatMap((one) => one.manual);
  const { chosen, failed } = selectCompilable(new Compiler(openProject(tsConfig)), files, registrations, others);
  manual.push(...failed, ...conflicts(chosen));
  const after = textsAfter(files, chosen);
  return {
    changed: [...after].map(([file, text]) => ({ path: file.getFilePath(), before: file.getFullText(), after: text })),
    clients: chosen.flatMap(({ clients }) => clients).length,
    manual: manual.map(remarkOf),
    exports: files.flatMap((file) => exportEdits(file, files, chosen).steps.map(remarkOf)),
    notes: chosen.flatMap(({ call, notes }) => notes.map((text) => remarkOf({ node: call, text }))),
  };
}

function openProject(tsConfigFilePath: string): Project {
  const project = new Project({ tsConfigFilePath, skipAddingFilesFromTsConfig: true });
  // TypeScript 6 includes no types by default, so `process` and `__dirname` would be unknown.
  if (project.compilerOptions.get().types === undefined && !ts.version.startsWith('5'))
    project.compilerOptions.set({ types: ['*'] });
  return project;
}

/**
 * Returns the registrations whose rewritten code compiles, and the reason why each of the others fails. The types of shared constants
 * are changed only if the code would not compile otherwise.
 */
function selectCompilable(
  compiler: Compiler,
  files: readonly SourceFile[],
  registrations: readonly Registration[],
  others: readonly string[],
): { readonly chosen: readonly Registration[]; readonly failed: readonly ManualStep[] } {
  const problemOf = (some: readonly Registration[]) => {
    const constants = some.flatMap(({ edits }) => edits.flatMap(({ constant }) => constant ?? []));
    const users = others.filter((path) => constants.some((name) => textOf(path).includes(name)));
    const texts = new Map([...textsAfter(files, some)].map(([file, text]) => [file.getFilePath() as string, text]));
    return compiler.newProblem(texts, users);
  };
  if (problemOf(registrations) === undefined) return { chosen: registrations, failed: [] };
  const chosen: Registration[] = [];
  const failed: ManualStep[] = [];
  for (const registration of registrations) {
    if (problemOf([...chosen, registration]) === undefined) {
      chosen.push(registration);
      continue;
    }
    const retyped = { ...registration, edits: [...registration.edits, ...registration.retypes] };
    const problem = problemOf([...chosen, retyped]);
    if (problem === undefined) chosen.push(retyped);
    else {
      const names = registration.clients.map(({ name }) => name).join(', ');
      failed.push({ node: registration.call, text: `${names}: the rewritten code does not compile: ${problem}` });
    }
  }
  return { chosen, failed };
}

const textOf = (path: string) => readFileSync(path, 'utf8');

/** Returns the text of each file that changes. */
function textsAfter(
  files: readonly SourceFile[],
  registrations: readonly Registration[],
): ReadonlyMap<SourceFile, string> {
  const edits = [
    ...registrations.flatMap((registration) => registration.edits),
    ...files.flatMap((file) => exportEdits(file, files, registrations).edits),
  ];
  const changed = new Set(edits.map(({ file }) => file));
  return new Map(
    [...changed].map((file) => {
      const before = file.getFullText();
      const own = edits.filter((edit) => edit.file === file);
      const after = withImports(before, applyEdits(before, own), NEST_PACKAGE);
      return [file, before.includes('\r\n') ? after.replaceAll(/\r?\n/g, '\r\n') : after];
    }),
  );
}

/**
 * Returns a step for each client whose options are written differently from those of an earlier client with the same name. In Nest, both
 * clients exist; in this library, a name has one client. Equal values can be written differently, for example as a literal and as a
 * constant.
 */
function conflicts(registrations: readonly Registration[]): readonly ManualStep[] {
  const clients = registrations.flatMap((registration) => registration.clients);
  const plain = (text: string) => text.replace(/\s|,(?=\s*\})/g, '');
  const first = new Map<string, (typeof clients)[number]>();
  return clients.flatMap((client) => {
    const other = first.get(client.token);
    if (other === undefined) first.set(client.token, client);
    if (other === undefined || plain(other.text) === plain(client.text)) return [];
    const { path, line } = remarkOf({ node: other.node, text: '' });
    const place = `${relative(process.cwd(), path)}:${String(line)}`;
    const text = `${client.name}: its options are written differently at ${place}; if the values differ, the application does not start; make the values equal, or rename one client`;
    return [{ node: client.node, text }];
  });
}

function remarkOf({ node, text }: ManualStep): Remark {
  return { path: node.getSourceFile().getFilePath(), line: node.getStartLineNumber(), text };
}

function requirePackage(project: Project, name: string, from: string): void {
  const { resolvedModule } = ts.resolveModuleName(name, from, project.compilerOptions.get(), ts.sys);
  if (resolvedModule === undefined) throw new MissingPackage(name);
}
