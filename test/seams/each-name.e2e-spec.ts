import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, type TestContext } from 'vitest';
import { OTHER_NODES, downloadNodes, type OtherNodes } from '../consumers/other-nodes.js';
import { ROOT } from '../consumers/packed-library.js';
import { PRIVATE_NAMES, runSabotaged, compatibilityWarningsOf, type SabotagedRun, type Sabotage } from './renamed.js';

const json = (path: string): unknown => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
const { version: installed } = json('node_modules/@grpc/grpc-js/package.json') as { readonly version: string };
const { peerDependencies } = json('libs/resilient-grpc/package.json') as {
  readonly peerDependencies: Readonly<Record<string, string>>;
};
const range = peerDependencies['@grpc/grpc-js']!;

/** Releases of grpc-js to test: the oldest in the peer range, and the newest in it that npm finds (the installed one if npm fails). */
const VERSIONS = [...new Set([range.replace('^', ''), findNewest()])];

function findNewest(): string {
  try {
    const args = ['view', `@grpc/grpc-js@${range}`, 'version', '--json', '--prefer-offline', '--fetch-retries=0'];
    const found: unknown = JSON.parse(execFileSync('npm', args, { encoding: 'utf8', stdio: 'pipe', timeout: 60_000 }));
    return String(Array.isArray(found) ? found.at(-1) : found);
  } catch (error) {
    console.log(`cannot look up the newest grpc-js; testing ${installed} instead: ${String(error)}`);
    return installed;
  }
}

/** The current version of Node and other supported versions. */
const NODES = [process.versions.node, ...OTHER_NODES];
let nodes: OtherNodes;
beforeAll(async () => {
  nodes = await downloadNodes(OTHER_NODES);
}, 300_000);
afterAll(() => {
  nodes.remove();
});

// The tests run concurrently, because each run mostly waits.
describe.concurrent.each(VERSIONS)('grpc-js %s', (version) => {
  let folder: string | undefined;
  beforeAll(() => {
    if (version === installed) return undefined;
    const copy = mkdtempSync(join(tmpdir(), 'grpc-js-'));
    const args = ['install', '--prefix', copy, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
    execFileSync('npm', [...args, `@grpc/grpc-js@${version}`], { stdio: 'pipe', timeout: 120_000 });
    folder = join(copy, 'node_modules/@grpc/grpc-js');
    return () => {
      rmSync(copy, { recursive: true });
    };
  });

  describe.each(NODES)('on Node %s', (node) => {
    const runHere = (sabotage: Sabotage, { skip }: TestContext): Promise<SabotagedRun> => {
      const program = node === process.versions.node ? process.execPath : nodes.programs.get(node);
      if (program === undefined) return skip(`Node ${node} is not available: ${String(nodes.missing.get(node))}`);
      return runSabotaged({ ...sabotage, ...(folder === undefined ? {} : { folder }) }, program);
    };

    it.for([true, false])('finds every private name of grpc-js (TLS: %s)', async (tls, context) => {
      const result = await runHere({ names: [], tls }, context);
      context.expect(result).toMatchObject({ failures: [] });
      context.expect(compatibilityWarningsOf(result)).toEqual([]);
    });

    it.for(PRIVATE_NAMES)(
      'logs one warning about the feature lost without $name, and causes no crash, duplicate write, or hang',
      async ({ sabotage, lost }, context) => {
        const result = await runHere(sabotage, context);
        context.expect(result).toMatchObject({ failures: [] });
        context.expect(compatibilityWarningsOf(result).filter((line) => line.includes(lost))).toHaveLength(1);
      },
    );
  });
});

describe('grpc-js outside the tested versions', () => {
  it.each(['1.15.0', '2.0.0'])('logs one warning for the untested grpc-js version %s', async (version) => {
    const result = await runSabotaged({ names: [], version });
    expect(result).toMatchObject({ failures: [] });
    expect(compatibilityWarningsOf(result)).toEqual([
      expect.stringContaining(
        `@grpc/grpc-js ${version} on Node ${process.versions.node} is outside the tested versions`,
      ),
    ]);
  });
});
