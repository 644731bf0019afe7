import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { PAGES, codeBlocks, type CodeBlock } from './markdown.js';

/**
 * Declarations for a block that has no imports, because it is only part of a program. The library's types are real, so that the block
 * compiles only if it uses the API correctly.
 */
const AROUND_A_PART = `
import {
  ResilientGrpcModule,
  isGrpcCallError,
  type GrpcCallError,
  type Resilient,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
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
  experimentalDecorators: true,
  emitDecoratorMetadata: true,
  skipLibCheck: true,
  rootDir: 'blocks',
  outDir: 'dist',
};

/**
 * Writes every TypeScript block of the pages, except those from examples/, to the folder of its page in `application`, with the generated
 * code, and a tsconfig.json. Returns the paths of the blocks.
 */
export function writeCodeBlocks(application: string): readonly string[] {
  const blocks = PAGES.flatMap(codeBlocks).filter(({ language, isExample }) => language === 'ts' && !isExample);
  const paths = blocks.map((block) => {
    const folder = join(application, 'blocks', block.page.replace(/\.md$/, '').toLowerCase());
    mkdirSync(join(folder, 'gen'), { recursive: true });
    cpSync(join(application, 'src/gen/orders.pb.ts'), join(folder, 'gen/orders.ts'));
    const path = join(folder, nameOf(block));
    writeFileSync(path, /^import /m.test(block.text) ? block.text : AROUND_A_PART + block.text);
    return path;
  });
  writeFileSync(
    join(application, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['blocks'] }),
  );
  return paths;
}

/** Name of the file of a block: the one in its first line, or one with its line on the page. */
function nameOf({ page, text, line }: CodeBlock): string {
  const [first = ''] = text.split('\n');
  return (
    /^\/\/ (?:src\/)?([\w.-]+\.ts)$/.exec(first)?.[1] ??
    `${basename(page, '.md').toLowerCase()}-line-${String(line)}.ts`
  );
}
