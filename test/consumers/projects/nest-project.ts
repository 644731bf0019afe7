import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT, run, type PackedLibrary } from '../packed-library.js';
import { PROJECTS, type Project } from './matrix.mjs';

const HERE = join(ROOT, 'test/consumers/projects');
const INSTALL = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--no-package-lock'];

/** Folder with the packages of all projects that use one version of Nest. Projects are folders inside it. */
export interface Installation {
  readonly folder: string;
  remove(): void;
}

/** Installs a version of Nest, its tools, and `packed` with npm, as the README describes. */
export function installProjects(packed: PackedLibrary, nest: 11 | 12): Installation {
  const folder = mkdtempSync(join(tmpdir(), `nest-${String(nest)}-`));
  cpSync(join(HERE, `nest-${String(nest)}/package.json`), join(folder, 'package.json'));
  run('npm', [...INSTALL, packed.tarball], folder);
  // Projects inside `jest-29` use Jest 29. The peer dependencies of its packages are in the parent folder.
  mkdirSync(join(folder, 'jest-29'));
  writeFileSync(join(folder, 'jest-29/package.json'), JSON.stringify({ private: true }));
  run('npm', [...INSTALL, '--legacy-peer-deps', 'jest@29', 'ts-jest@29', '@swc/jest@0.2'], join(folder, 'jest-29'));
  return { folder, remove: () => rmSync(folder, { recursive: true }) };
}

/** Creates the project that `nest new` creates, with the sources of `sources/`, and returns its folder. */
export function createProject({ folder }: Installation, project: Project, tool: string): string {
  const { nest, type } = PROJECTS[project];
  const parent = tool.startsWith('jest-29') ? join(folder, 'jest-29') : folder;
  const name = `${project}-${tool.replaceAll(/\W+/g, '-')}`;
  const created = join(parent, name);
  // The schematics of Nest 11 have no option `type` and create CommonJS.
  const template = nest === 12 ? ['--type', type] : [];
  const schematics = [join(folder, 'node_modules/@angular-devkit/schematics-cli/bin/schematics.js'), '--no-dry-run'];
  run(process.execPath, [...schematics, '@nestjs/schematics:application', '--name', name, ...template], parent);
  if (nest === 11 && type === 'esm') {
    rmSync(join(created, 'src'), { recursive: true });
    change(created, 'package.json', { type: 'module' });
  }
  // Removes the end-to-end tests of the template, because they require a package that is not installed.
  rmSync(join(created, 'test'), { recursive: true });
  cpSync(join(HERE, 'sources/orders.proto'), join(created, 'orders.proto'));
  for (const file of ['main.ts', 'shop.ts']) copySource(created, type, file, file);
  copySource(created, type, 'shop.test.ts', 'shop.spec.ts', tool);
  // Nest's bundlers exclude packages from the bundle only if the packages are in the project's own node_modules.
  if (parent === folder) symlinkSync(join(folder, 'node_modules'), join(created, 'node_modules'));
  configure(created, project, tool);
  return created;
}

function copySource(created: string, type: 'cjs' | 'esm', from: string, to: string, tool = ''): void {
  const text = readFileSync(join(HERE, 'sources', from), 'utf8')
    .replace(/(?<=^import .*) from 'vitest';\n/m, tool === 'node:test' ? " from 'node:test';\n" : '$&')
    .replace(/^import .* from 'vitest';\n/m, '');
  mkdirSync(join(created, 'src'), { recursive: true });
  writeFileSync(join(created, 'src', to), type === 'cjs' ? text.replaceAll(/(?<=from '\.\/\w+)\.js'/g, "'") : text);
}

/** Configures the tool as its documentation describes. */
function configure(created: string, project: Project, tool: string): void {
  const { nest, type } = PROJECTS[project];
  const [runner = '', transform] = tool.split(' ');
  if (runner.startsWith('jest')) {
    const swc = {
      jsc: {
        parser: { syntax: 'typescript', decorators: true },
        transform: { legacyDecorator: true, decoratorMetadata: true },
      },
    };
    const esm = { extensionsToTreatAsEsm: ['.ts'], moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' } };
    const config = {
      moduleFileExtensions: ['js', 'json', 'ts'],
      rootDir: 'src',
      testRegex: String.raw`.*\.spec\.ts$`,
      transform: {
        [String.raw`^.+\.(t|j)s$`]:
          transform === 'ts-jest' ? [transform, { useESM: type === 'esm' }] : [transform, swc],
      },
      testEnvironment: 'node',
      ...(type === 'esm' ? esm : {}),
    };
    // The template configures Jest only for ts-jest and CommonJS.
    const isTemplate = transform === 'ts-jest' && type === 'cjs';
    if (!isTemplate) {
      rmSync(join(created, 'jest.config.ts'), { force: true });
      change(created, 'package.json', { jest: config });
    }
  }
  if (runner === 'vitest' && (nest === 11 || type === 'cjs')) {
    const config =
      "import { defineConfig } from 'vitest/config';\nexport default defineConfig({ test: { globals: true } });\n";
    writeFileSync(join(created, 'vitest.config.mts'), config);
  }
}

/** Sets keys of a JSON file. */
function change(folder: string, file: string, values: object): void {
  const path = join(folder, file);
  writeFileSync(path, JSON.stringify({ ...(JSON.parse(readFileSync(path, 'utf8')) as object), ...values }));
}
