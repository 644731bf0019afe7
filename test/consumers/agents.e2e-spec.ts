import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { format } from 'prettier';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { compare, type Sight } from './agents/compare.js';
import { AGENTS, SITUATIONS, VARIANTS, type Variant } from './agents/matrix.mjs';
import { runVariant, writeApplication, type Kind } from './agents/run-agent.js';
import { downloadNodes, type OtherNodes } from './other-nodes.js';
import { packLibrary, ROOT, run, RUN_LIMIT_MS, type PackedLibrary } from './packed-library.js';

/** Some agents require Node 22.15. */
const NODE = '24.21.0';

/** Packages of the application besides the agent and the library. */
const PACKAGES = {
  '@grpc/grpc-js': '^1.14.7',
  '@grpc/proto-loader': '^0.8.1',
  '@nestjs/common': '^12.0.1',
  '@nestjs/core': '^12.0.1',
  '@nestjs/microservices': '^12.0.1',
  '@nestjs/platform-express': '^12.0.1',
  'reflect-metadata': '^0.2.2',
  rxjs: '^7.8.1',
  // The intake decodes Datadog's payloads with it.
  '@msgpack/msgpack': '^3.0.0',
};
const INSTALL = ['install', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--no-package-lock'];

/** Differences for the worse from plain Nest, by agent and situation. docs/operate/agents.md is rendered from it, and the option -u updates it. */
const RESULTS = join(ROOT, 'docs/operate/agents.json');

// The packages of an agent are installed, and four pairs of processes run, each of which is stopped at its own limit.
vi.setConfig({ testTimeout: RUN_LIMIT_MS, hookTimeout: 3 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let nodes: OtherNodes;
let node: string;
beforeAll(async () => {
  packed = packLibrary();
  nodes = await downloadNodes([NODE]);
  const program = nodes.programs.get(NODE);
  if (program === undefined) throw new Error(`no Node ${NODE}: ${nodes.missing.get(NODE)}`);
  node = program;
  return () => {
    packed.remove();
    nodes.remove();
  };
});

/** True if the library uses grpc-js's transport in the processes, which inherit the variable. */
const isOnGrpcJs = process.env['NESTJS_RESILIENT_GRPC_TRANSPORT'] === 'grpc-js';
const results: Record<string, Record<string, string[]>> = {};
const situations = Object.keys(SITUATIONS);
// The cast is safe because the object literal has no other keys.
const variants = Object.keys(VARIANTS) as Variant[];

describe.each(Object.keys(AGENTS))('an application with %s', (agent) => {
  let folder: string;
  let control: Map<string, Sight>;
  const differences = new Map<string, readonly string[]>();

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), `${agent}-`));
    const dependencies = { ...PACKAGES, ...AGENTS[agent]?.packages };
    writeFileSync(join(folder, 'package.json'), JSON.stringify({ name: 'application', private: true, dependencies }));
    run('npm', [...INSTALL, packed.tarball], folder);
    writeApplication(folder, agent);
    const sights = async (kinds: { client: Kind; server: Kind }) => await runVariant(agent, folder, node, kinds);
    control = await sights({ client: 'nest', server: 'nest' });
    for (const variant of variants) {
      const seen = await sights(VARIANTS[variant]).catch((error: unknown) => String(error));
      for (const situation of situations)
        differences.set(`${situation} ${variant}`, compared(situation, variant, control, seen));
    }
    results[agent] = Object.fromEntries(
      situations.map((situation) => [
        situation,
        variants.flatMap((variant) =>
          (differences.get(`${situation} ${variant}`) ?? []).map((text) => `${variant}: ${text}`),
        ),
      ]),
    );
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const visible = situations.filter((situation) => AGENTS[agent]?.invisible !== situation);
  it.each(visible)('shows the spans of %s with plain Nest', (situation) => {
    expect(control.get(situation)?.spans).not.toEqual([]);
  });

  describe.each(variants)('and this library as %s', (variant) => {
    it.each(situations)('shows and returns no less than plain Nest for %s', (situation) => {
      expect(differences.get(`${situation} ${variant}`)).toEqual([]);
    });
  });
});

it('repeats the results that the docs show', async ({ skip }) => {
  skip(isOnGrpcJs, 'not run: the docs show the results of the default transport');
  const text = await format(JSON.stringify(results), { parser: 'json', printWidth: 120 });
  await expect(text).toMatchFileSnapshot(RESULTS);
});

function compared(
  situation: string,
  variant: Variant,
  control: ReadonlyMap<string, Sight>,
  seen: ReadonlyMap<string, Sight> | string,
): readonly string[] {
  if (typeof seen === 'string') return [seen];
  const [wanted, found] = [control.get(situation), seen.get(situation)];
  if (wanted === undefined || found === undefined) throw new Error(`no results of ${situation}`);
  // Only this library's server sends trailers of unary calls.
  const hasTrailers = situation === 'Trailers' && VARIANTS[variant].server === 'resilient';
  return compare(
    hasTrailers ? { ...wanted, results: wanted.results.map((one) => one.replace(']', ',"3"]')) } : wanted,
    found,
    situation.endsWith('Cancel'),
  );
}
