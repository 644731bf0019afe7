import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OTHER_NODES, downloadNodes, type OtherNodes } from '../consumers/other-nodes.js';
import { ROOT } from '../consumers/packed-library.js';
import { PRIVATE_NAMES, play, untested } from './renamed.js';

const json = (path: string): unknown => JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
const { version: installed } = json('node_modules/@grpc/grpc-js/package.json') as { readonly version: string };
const { peerDependencies } = json('libs/resilient-grpc/package.json') as {
  readonly peerDependencies: Readonly<Record<string, string>>;
};
const range = peerDependencies['@grpc/grpc-js']!;

/** The oldest release of the peer range, and the newest that can be had here. */
const VERSIONS = [...new Set([range.replace('^', ''), newest()])];

function newest(): string {
  try {
    const args = ['view', `@grpc/grpc-js@${range}`, 'version', '--json', '--prefer-offline', '--fetch-retries=0'];
    const found: unknown = JSON.parse(execFileSync('npm', args, { encoding: 'utf8', stdio: 'pipe', timeout: 60_000 }));
    return String(Array.isArray(found) ? found.at(-1) : found);
  } catch (error) {
    console.log(`The newest grpc-js is not known here, so ${installed} is tried: ${String(error)}`);
    return installed;
  }
}

describe.each(VERSIONS)('grpc-js %s', (version) => {
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
  const there = () => (folder === undefined ? {} : { folder });

  it.each([true, false])('has every private name (TLS: %s)', async (tls) => {
    const played = await play({ names: [], tls, ...there() });
    expect(played).toMatchObject({ failures: [] });
    expect(untested(played)).toEqual([]);
  });

  it.each(PRIVATE_NAMES)(
    'loses only a feature without $name: no crash, no doubled write, no hang, one warning of it',
    async ({ sabotage, lost }) => {
      const played = await play({ ...sabotage, ...there() });
      expect(played).toMatchObject({ failures: [] });
      expect(untested(played).filter((line) => line.includes(lost))).toHaveLength(1);
    },
  );
});

describe('grpc-js outside the tested versions', () => {
  it.each(['1.14.6', '1.15.0', '2.0.0'])('%s is one warning', async (version) => {
    const played = await play({ names: [], version });
    expect(played).toMatchObject({ failures: [] });
    expect(untested(played)).toEqual([
      expect.stringContaining(
        `@grpc/grpc-js ${version} on Node ${process.versions.node} is outside the tested versions`,
      ),
    ]);
  });
});

describe('Node', () => {
  let nodes: OtherNodes;
  beforeAll(async () => {
    nodes = await downloadNodes(OTHER_NODES);
  }, 300_000);
  afterAll(() => {
    nodes.remove();
  });

  it.each(OTHER_NODES)('%s has every private name', async (version) => {
    const program = nodes.programs.get(version);
    if (program === undefined) {
      console.log(`Node ${version} cannot be had here, so nothing was tried on it: ${nodes.missing.get(version)}`);
      return;
    }
    const played = await play({ names: [], tls: true }, program);
    expect(played).toMatchObject({ failures: [] });
    expect(untested(played)).toEqual([]);
  });
});
