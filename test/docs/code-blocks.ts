import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PAGES, codeBlocks } from './markdown.js';

/** A block of TypeScript as a file of an application. */
export interface BlockFile {
  /** Below the application's folder, without its ending. */
  readonly path: string;
  /** Marked `program`: to be run as it stands. */
  readonly isProgram: boolean;
}

/**
 * What a part of a program takes for granted: a block without an import of its own is one. The types are real, so that it
 * compiles only if it is right.
 */
const AROUND_A_PART = `
import { NestFactory } from '@nestjs/core';
import { ResilientGrpcModule, type Resilient } from 'nestjs-resilient-grpc';
import { defer, retry, tap, timeout, timer } from 'rxjs';
import type { OrderEvent, OrdersClient } from './gen/orders.js';
declare class AppModule {}
declare class ConfigService {
  getOrThrow(key: string): string;
}
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
 * Writes every block of TypeScript of the pages into `application`, one folder a page, with the generated types and the proto
 * that they name, and a tsconfig.blocks.json that compiles them to dist/.
 */
export function writeCodeBlocks(application: string): readonly BlockFile[] {
  const files = PAGES.flatMap((page) => {
    const blocks = codeBlocks(page).filter(({ language }) => language === 'ts');
    const folder = join('blocks', page.replace(/\.md$/, '').toLowerCase());
    if (blocks.length > 0) {
      mkdirSync(join(application, folder, 'gen'), { recursive: true });
      cpSync(join(application, 'src/gen/orders.pb.ts'), join(application, folder, 'gen/orders.ts'));
    }
    return blocks.map(({ text, line, marks }) => {
      // A block that other blocks import names its file in its first line.
      const name = /^\/\/ ([\w.-]+)\.ts$/m.exec(text.split('\n')[0]!)?.[1] ?? `line-${line}`;
      const path = join(folder, name);
      const isWhole = /^import /m.test(text);
      writeFileSync(join(application, `${path}.ts`), isWhole ? text : AROUND_A_PART + text);
      return { path, isProgram: marks.includes('program') };
    });
  });
  cpSync(join(application, 'protos/orders.proto'), join(application, 'orders.proto'));
  writeFileSync(
    join(application, 'tsconfig.blocks.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ['blocks'] }),
  );
  return files;
}

/** Where a block was compiled to. */
export function compiled(path: string): string {
  return join('dist', dirname(path).replace(/^blocks\/?/, ''), `${path.slice(dirname(path).length + 1)}.js`);
}
