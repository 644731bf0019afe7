import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run } from '../consumers/packed-library.js';

/** TypeScript's module resolutions, each with its compiler options and the extensions of the files to compile. */
const RESOLUTIONS = {
  node10: { module: 'commonjs', kinds: ['cts'], ignoreDeprecations: '6.0' },
  node16: { module: 'node16', kinds: ['mts'] },
  nodenext: { module: 'nodenext', kinds: ['cts', 'mts'] },
  bundler: { module: 'esnext', kinds: ['mts'] },
};

/** Compiles imports of `entries` in `application` once per resolution; throws with the compiler's output if a compilation fails. */
export function compileInEachResolution(entries: readonly string[], application: string): void {
  // Each import expects an error for a missing name, because an entry whose types are not found is `any` and has every name.
  const imports = entries.map(
    (entry, index) =>
      `import * as entry${index} from '${entry}';\n// @ts-expect-error: the entry exports no such name\nentry${index}.noSuchName;\n`,
  );
  for (const kind of ['cts', 'mts']) writeFileSync(join(application, `entries.${kind}`), imports.join(''));
  const projects = Object.entries(RESOLUTIONS).map(([moduleResolution, { kinds, ...options }]) => {
    const project = `${moduleResolution}.json`;
    const compilerOptions = { ...options, moduleResolution, strict: true, noEmit: true, skipLibCheck: true, types: [] };
    const files = kinds.map((kind) => `entries.${kind}`);
    writeFileSync(join(application, project), JSON.stringify({ compilerOptions, files }));
    return project;
  });
  // One process for all projects, because they read the same declarations.
  run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b', ...projects], application);
}
