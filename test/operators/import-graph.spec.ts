import { dirname } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import { beforeAll, describe, expect, it } from 'vitest';

const ROOT = dirname(dirname(import.meta.dirname));
const ENTRY = 'libs/resilient-grpc/src/operators/index.ts';

/** Everything that `entry` loads at run time: imports of types alone are gone by then. */
async function loadedBy(entry: string): Promise<readonly string[]> {
  const { output } = await cruise([entry], {
    baseDir: ROOT,
    tsPreCompilationDeps: false,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
    tsConfig: { fileName: 'tsconfig.check.json' },
  });
  return (output as ICruiseResult).modules.map(({ source }) => source);
}

describe('the entry of the operators', () => {
  let loaded: readonly string[];
  beforeAll(async () => {
    loaded = await loadedBy(ENTRY);
  });

  it('loads RxJS and nothing else: no Nest, no grpc-js', () => {
    const packages = new Set(
      loaded.flatMap((file) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []),
    );
    expect([...packages]).toEqual(['rxjs']);
    expect(loaded.filter((file) => file.startsWith('node:'))).toEqual([]);
  });

  it('loads errors, policies, the seam of streams and the ports of time, and no other folder of the library', () => {
    const folders = new Set(loaded.flatMap((file) => /^libs\/resilient-grpc\/src\/([^/]+)\//.exec(file)?.[1] ?? []));
    expect([...folders].sort()).toEqual(['call', 'errors', 'operators', 'policy', 'status', 'time']);
  });
});
