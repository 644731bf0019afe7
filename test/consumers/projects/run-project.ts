import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ROOT, RUN_LIMIT_MS } from '../packed-library.js';
import { PROJECTS, RESOLUTIONS, type Project } from './matrix.mjs';

const HERE = import.meta.dirname;

export type Bundler = 'webpack' | 'rspack' | 'esbuild';

/** Runs Node in `folder` and returns its output. Throws with the output if the program fails. */
async function node(folder: string, args: readonly string[], program = process.execPath): Promise<string> {
  // Omits environment variables of the current test run, because they would configure the test runners of the project.
  const env = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(VITEST|JEST|NODE_OPTIONS)/.test(name)),
  );
  try {
    const { stdout } = await promisify(execFile)(program, args, { cwd: folder, env, timeout: RUN_LIMIT_MS });
    return stdout;
  } catch (error) {
    // The cast is safe because execFile rejects with these properties.
    const { stdout, stderr } = error as { readonly stdout: string; readonly stderr: string };
    throw new Error(`node ${args.join(' ')} failed in ${folder}\n${stdout}${stderr}`, { cause: error });
  }
}

/**
 * Runs the tests of `project` in `folder` with `tool` and returns the number of tests that passed.
 *
 * @param packages folder that contains the packages of the project
 * @param program executable of Node
 */
export async function runTests(
  folder: string,
  packages: string,
  project: Project,
  tool: string,
  program: string,
): Promise<number> {
  const { nest, type } = PROJECTS[project];
  const [runner] = tool.split(' ');
  if (runner === 'node:test') {
    await node(folder, [join(packages, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json']);
    const compiled = nest === 11 ? 'dist/shop.spec.js' : 'dist/src/shop.spec.js';
    const printed = await node(folder, ['--test', '--test-reporter=tap', compiled], program);
    return Number(/^# pass (\d+)$/m.exec(printed)?.[1]);
  }
  const jest = join(runner === 'jest-29' ? join(packages, 'jest-29') : packages, 'node_modules/jest/bin/jest.js');
  const modules = nest === 12 || type === 'esm' ? ['--experimental-vm-modules'] : [];
  const args =
    runner === 'vitest'
      ? [join(packages, 'node_modules/vitest/vitest.mjs'), 'run', '--reporter=json']
      : [...modules, jest, '--ci', '--json'];
  // The template also contains tests, which are skipped.
  const printed = await node(folder, [...args, '--testTimeout=120000', 'shop.spec'], program);
  return (JSON.parse(printed.slice(printed.indexOf('{'))) as { numPassedTests: number }).numPassedTests;
}

/** Builds the project in `folder` with the builder `tool` of Nest's CLI, runs the program, and returns its output. */
export async function runBuild(folder: string, packages: string, tool: string): Promise<unknown> {
  await node(folder, [join(packages, 'node_modules/@nestjs/cli/bin/nest.js'), 'build', '--builder', tool]);
  return JSON.parse(await node(folder, ['dist/main.js']));
}

/**
 * Bundles `sources/bundled.mjs` with all packages in the folder `packages` except `my-loader` and `@grpc/reflection`, which are next to the
 * bundle, runs the bundle in another folder, and returns its output.
 */
export async function runBundle(packages: string, bundler: Bundler, format: 'cjs' | 'esm'): Promise<unknown> {
  const folder = mkdtempSync(join(tmpdir(), 'bundle-'));
  const source = readFileSync(join(HERE, 'sources/bundled.mjs'), 'utf8');
  const entry = join(packages, `bundled.${format === 'cjs' ? 'cjs' : 'mjs'}`);
  const required = source
    .replaceAll(/^import ('.*');/gm, 'require($1);')
    .replaceAll(/^import (\{.*\}) from ('.*');/gm, 'const $1 = require($2);');
  writeFileSync(entry, format === 'cjs' ? required : source);
  const bundle = join(folder, `app.${format === 'cjs' ? 'cjs' : 'mjs'}`);
  await node(packages, [join(HERE, 'bundle.mjs'), bundler, format, entry, bundle]);
  mkdirSync(join(folder, 'node_modules/@grpc'), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules/@grpc/reflection'), join(folder, 'node_modules/@grpc/reflection'));
  mkdirSync(join(folder, 'node_modules/my-loader'));
  const loader = join(ROOT, 'node_modules/@grpc/proto-loader');
  writeFileSync(
    join(folder, 'node_modules/my-loader/index.js'),
    `module.exports = require(${JSON.stringify(loader)});`,
  );
  const output: unknown = JSON.parse(await node(tmpdir(), [bundle, join(HERE, 'sources/orders.proto')]));
  rmSync(folder, { recursive: true });
  return output;
}

/** Checks the types of the sources in `folder` with each module resolution that the project supports. */
export async function checkTypes(
  folder: string,
  packages: string,
  project: Project,
  typescript: string,
): Promise<void> {
  // The oldest compilers do not support the target of the template.
  const template = join(folder, 'tsconfig.json');
  writeFileSync(template, readFileSync(template, 'utf8').replace('"ES2023"', '"ES2022"'));
  const projects = RESOLUTIONS.filter((one) => one.project === project).map(({ module, moduleResolution }) => {
    const compilerOptions = {
      module,
      moduleResolution,
      noEmit: true,
      incremental: false,
      types: ['node'],
      // node10 rejects this setting of the template.
      ...(moduleResolution === 'node10' ? { resolvePackageJsonExports: null } : {}),
      // TypeScript 6 reports node10 and the template's baseUrl as deprecated.
      ...(typescript === '6.0' ? { ignoreDeprecations: '6.0' } : {}),
    };
    const name = `tsconfig.${moduleResolution}.json`;
    const files = ['src/main.ts', 'src/shop.ts'];
    writeFileSync(join(folder, name), JSON.stringify({ extends: './tsconfig.json', compilerOptions, files }));
    return name;
  });
  await node(folder, [join(packages, `node_modules/typescript-${typescript}/bin/tsc`), '-b', ...projects]);
}

/** Returns the number of copies of the package in a process that loads it with both `import` and `require()`. */
export async function copiesIn(packages: string, program: string): Promise<number> {
  const code = `
    import { createRequire } from 'node:module';
    const require = createRequire(process.cwd() + '/');
    const entries = ['', '/server', '/testing', '/operators', '/health', '/dashboard', '/telemetry', '/kubernetes'];
    const different = [];
    for (const entry of entries.map((name) => 'nestjs-resilient-grpc' + name)) {
      const [imported, required] = [await import(entry), require(entry)];
      different.push(...Object.keys(imported).filter((name) => imported[name] !== required[name]));
    }
    console.log(different.length === 0 ? 1 : 2);`;
  return Number(await node(packages, ['--input-type=module', '-e', code], program));
}
