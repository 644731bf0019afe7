import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, run } from '../consumers/packed-library.js';

/** How TypeScript may look for a package, with the kinds of modules that look so. */
const RESOLUTIONS = {
  node10: { module: 'commonjs', kinds: ['cts'], ignoreDeprecations: '6.0' },
  node16: { module: 'node16', kinds: ['mts'] },
  nodenext: { module: 'nodenext', kinds: ['cts', 'mts'] },
  bundler: { module: 'esnext', kinds: ['mts'] },
};

/** Compiles imports of `entries` in `application`, once for each resolution; throws with what the compiler printed. */
export function compileInEachResolution(entries: readonly string[], application: string): void {
  // An entry whose types are not found has any name, by `any`.
  const imports = entries.map(
    (entry, index) =>
      `import * as entry${index} from '${entry}';\n// @ts-expect-error: it has no such name\nentry${index}.noSuchName;\n`,
  );
  for (const kind of ['cts', 'mts']) writeFileSync(join(application, `entries.${kind}`), imports.join(''));
  const projects = Object.entries(RESOLUTIONS).map(([moduleResolution, { kinds, ...options }]) => {
    const project = `${moduleResolution}.json`;
    const compilerOptions = { ...options, moduleResolution, strict: true, noEmit: true, skipLibCheck: true, types: [] };
    const files = kinds.map((kind) => `entries.${kind}`);
    writeFileSync(join(application, project), JSON.stringify({ compilerOptions, files }));
    return project;
  });
  // Together, since they read the same declarations.
  run(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), '-b', ...projects], application);
}
