import { rmSync } from 'node:fs';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { OTHER_NODES, downloadNodes, type OtherNodes } from './other-nodes.js';
import { packLibrary, RUN_LIMIT_MS, type PackedLibrary } from './packed-library.js';
import { PROJECTS, RESOLUTIONS, TOOLS, TYPESCRIPTS, type Project } from './projects/matrix.mjs';
import { createProject, installProjects, type Installation } from './projects/nest-project.js';
import { checkTypes, copiesIn, runBuild, runBundle, runTests, type Bundler } from './projects/run-project.js';

/** A version of the first Node release line on which Jest can load ES modules with `require()`. */
const NODE_24 = '24.21.0';

/** The output of `projects/sources/main.ts`. */
const OUTPUT = {
  order: { id: '7', item: 'tea' },
  missing: 404,
  health: 200,
  dashboard: [200, 200, 200],
  clients: ['orders'],
  operators: 2,
  kubernetes: 'function',
};

// A test runs several processes, each of which is stopped at its own limit.
vi.setConfig({ testTimeout: 2 * RUN_LIMIT_MS, hookTimeout: 3 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let nodes: OtherNodes;
beforeAll(async () => {
  packed = packLibrary();
  nodes = await downloadNodes([...new Set([...OTHER_NODES, NODE_24])]);
  return () => {
    packed.remove();
    nodes.remove();
  };
});

/** Returns the executable of a Node version; `undefined`, after logging the reason, if it is not available. */
function nodeOf(version: string): string | undefined {
  if (version === process.versions.node) return process.execPath;
  const program = nodes.programs.get(version);
  if (program === undefined) console.log(`Skipped Node ${version}: ${nodes.missing.get(version)}`);
  return program;
}

describe.each([11, 12] as const)('packages of Nest %i, installed by npm', (nest) => {
  let installed: Installation;
  beforeAll(() => {
    installed = installProjects(packed, nest);
    return installed.remove;
  });

  // The cast is safe because the object literal has no other keys.
  const projects = (Object.keys(PROJECTS) as Project[]).filter((project) => PROJECTS[project].nest === nest);

  /** Creates a project for `tool`, and removes it if `use` succeeds. */
  async function inProject<T>(project: Project, tool: string, use: (folder: string) => Promise<T>): Promise<T> {
    const folder = createProject(installed, project, tool);
    const result = await use(folder);
    rmSync(folder, { recursive: true });
    return result;
  }

  it.each([process.versions.node, ...OTHER_NODES])(
    'loads one copy of the package with import and require() on Node %s',
    async (version) => {
      const program = nodeOf(version);
      if (program === undefined) return;
      expect(await copiesIn(installed.folder, program)).toBe(1);
    },
  );

  // rspack is installed for Nest 12 only, because the CLI of Nest 11 does not use it.
  const bundlers: readonly Bundler[] = nest === 12 ? ['webpack', 'rspack', 'esbuild'] : ['webpack', 'esbuild'];
  it.each(bundlers.flatMap((bundler) => (['cjs', 'esm'] as const).map((format) => [bundler, format] as const)))(
    'runs a bundle that contains all packages, built by %s as %s, without optional packages',
    async (bundler, format) => {
      const output = await runBundle(installed.folder, bundler, format);
      expect(output).toEqual({ order: { id: '7', item: 'tea' }, pages: [200, 200, 200, 200] });
    },
  );

  describe.each(projects)('project %s', (project) => {
    const supported = TOOLS.filter(({ notes }) => notes[project]?.startsWith('no-') !== true);

    it.each(supported.filter(({ kind }) => kind === 'test'))(
      `passes the tests of project ${project} with $tool`,
      async ({ tool, notes }) => {
        const program = notes[project] === 'node-24' ? nodeOf(NODE_24) : process.execPath;
        if (program === undefined) return;
        const run = (folder: string) => runTests(folder, installed.folder, project, tool, program);
        expect(await inProject(project, tool, run)).toBe(2);
      },
    );

    it.each(supported.filter(({ kind }) => kind === 'build'))(
      `runs project ${project} after nest build with $tool`,
      async ({ tool }) => {
        expect(await inProject(project, tool, (folder) => runBuild(folder, installed.folder, tool))).toEqual(OUTPUT);
      },
    );

    const since = RESOLUTIONS.find((one) => one.project === project)?.since ?? '';
    it.each(TYPESCRIPTS.filter((version) => version >= since))(
      `compiles project ${project} with TypeScript %s`,
      async (version) => {
        await inProject(project, `typescript-${version}`, (folder) =>
          checkTypes(folder, installed.folder, project, version),
        );
      },
    );
  });
});
