import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, delimiter, dirname, join } from 'node:path';
import { PAGES, ROOT, codeBlocks, type CodeBlock } from './markdown.js';

/** Path of a module that is copied as ./name-server.mjs to the folder of each page that has TypeScript blocks. */
export const HELPER = 'test/docs/name-server.mjs';

/** Path of the script that runs programs sequentially; also copied to the application. */
export const RUNNER = 'test/docs/run-programs.mjs';

/** Code that affects later programs in the same process. If a block of a page contains it, each program of the page has its own process. */
const UNSHARED = /\bprocess\.(env\[[^\]]*\] = |chdir|exit|kill|on)|'node:test'|\b(setGlobal|overrideLogger)/;

/**
 * Number of processes that all other programs share. Each process loads Nest and grpc-js, which takes most of the time. With fewer
 * processes, more programs would be skipped after a failure, because a failure ends the process.
 */
const PROCESSES = 6;

/** Programs of all pages, grouped by process: paths below the application's folder, without an extension. */
export const PROGRAMS: readonly (readonly string[])[] = groupByProcess();

function groupByProcess(): readonly (readonly string[])[] {
  const pages = PAGES.map((page) => {
    const blocks = codeBlocks(page);
    const programs = blocks.filter(({ marks }) => marks.includes('program')).map(pathOf);
    return { programs, unshared: blocks.some(({ text }) => UNSHARED.test(text)) };
  });
  const alone = pages.filter(({ unshared }) => unshared).flatMap(({ programs }) => programs);
  const shared = pages.filter(({ unshared }) => !unshared).flatMap(({ programs }) => programs);
  // Distributes neighboring programs across different processes, because long programs are next to each other.
  const together = Array.from({ length: PROCESSES }, (_, process) =>
    shared.filter((_path, index) => index % PROCESSES === process),
  );
  return [...together, ...alone.map((path) => [path])];
}

/**
 * Declarations for a block that has no imports, because it is only part of a program. The library's types are real, so that the block
 * compiles only if it uses the API correctly.
 */
const AROUND_A_PART = `
import { ResilientGrpcModule, isGrpcCallError, type Resilient, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { resumable } from 'nestjs-resilient-grpc/operators';
import { retry, throwError, timer } from 'rxjs';
import type { OrderEvent, OrdersClient } from './gen/orders.js';
declare class ConfigService {
  getOrThrow(key: string): string;
}
declare const client: ResilientGrpcClient;
declare const orders: Resilient<OrdersClient>;
declare function handle(event: OrderEvent): Promise<void>;
`;

const COMPILER_OPTIONS = {
  target: 'ES2023',
  module: 'nodenext',
  lib: ['ES2023'],
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  noPropertyAccessFromIndexSignature: true,
  isolatedModules: true,
  allowJs: true,
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  skipLibCheck: true,
  rootDir: 'blocks',
  outDir: 'dist',
};

/**
 * Writes every TypeScript block of the pages to the folder of its page in `application`. Adds the generated code, the proto files,
 * JavaScript configuration files, and a tsconfig.json that compiles to dist/. Returns the paths of the blocks, as in `PROGRAMS`.
 */
export function writeCodeBlocks(application: string): readonly string[] {
  const files = PAGES.flatMap((page) => {
    const blocks = codeBlocks(page).filter(({ language, isExample }) => language === 'ts' && !isExample);
    const folder = folderOf(page);
    mkdirSync(join(application, folder), { recursive: true });
    if (blocks.length > 0) {
      mkdirSync(join(application, folder, 'gen'), { recursive: true });
      cpSync(join(application, 'src/gen/orders.pb.ts'), join(application, folder, 'gen/orders.ts'));
      cpSync(join(application, HELPER), join(application, folder, basename(HELPER)));
    }
    for (const { text } of codeBlocks(page)) {
      const name = /^\/\/ ([\w.-]+\.(js|proto))$/m.exec(text)?.[1];
      if (name !== undefined) writeFileSync(join(application, folder, name), text);
      if (text.startsWith('# buf.gen.yaml\n')) generate(join(application, folder), text);
    }
    return blocks.map((block) => {
      const path = pathOf(block);
      const isComplete = /^import /m.test(block.text);
      writeFileSync(join(application, `${path}.ts`), isComplete ? block.text : AROUND_A_PART + block.text);
      return path;
    });
  });
  cpSync(join(application, 'protos/orders.proto'), join(application, 'orders.proto'));
  writeFileSync(
    join(application, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['blocks'] }),
  );
  return files;
}

/** Generates code as the page describes: in its folder, with `buf.gen.yaml` and the proto file of the demo. */
function generate(folder: string, template: string): void {
  writeFileSync(join(folder, 'buf.gen.yaml'), template);
  cpSync(join(ROOT, 'protos/orders.proto'), join(folder, 'orders.proto'));
  const bin = join(ROOT, 'node_modules/.bin');
  // buf finds the plugins through PATH, which npx sets the same way.
  const env = { ...process.env, PATH: [bin, process.env['PATH']].join(delimiter) };
  execFileSync(join(bin, 'buf'), ['generate'], { cwd: folder, env, stdio: 'pipe' });
}

/** Folder of the blocks. Pages in `x/` continue the programs of `x.md`. */
function folderOf(page: string): string {
  const overview = `${dirname(page)}.md`;
  return PAGES.includes(overview) ? folderOf(overview) : join('blocks', page.replace(/\.md$/, '').toLowerCase());
}

/** Path of a block. A block that is imported or run names its file in its first line. */
function pathOf({ page, text, line }: CodeBlock): string {
  const name =
    /^\/\/ (?:src\/)?([\w.-]+)\.ts$/.exec(text.split('\n')[0]!)?.[1] ??
    `${basename(page, '.md').toLowerCase()}-line-${line}`;
  return join(folderOf(page), name);
}

/** Path of the compiled block. */
export function compiled(path: string): string {
  return join('dist', dirname(path).replace(/^blocks\/?/, ''), `${path.slice(dirname(path).length + 1)}.js`);
}
