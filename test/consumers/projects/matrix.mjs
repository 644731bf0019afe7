// The kinds of projects that use the library. projects.e2e-spec.ts runs each of them, and docs/about/compatibility.md lists them.

/** Projects, each with the version of Nest and the module system of its package.json. */
export const PROJECTS = /** @type {const} */ ({
  'nest-11-commonjs': { label: 'Nest 11, CommonJS', nest: 11, type: 'cjs' },
  'nest-11-esm': { label: 'Nest 11, ESM', nest: 11, type: 'esm' },
  'nest-12-esm': { label: 'Nest 12, ESM', nest: 12, type: 'esm' },
  'nest-12-commonjs': { label: 'Nest 12, CommonJS', nest: 12, type: 'cjs' },
});

/** @typedef {keyof typeof PROJECTS} Project */

/** Requirements and limits of the tools. They also apply without this library. */
export const NOTES = /** @type {const} */ ({
  'jest-esm':
    "[Jest's settings for ES modules](../test/testing.md#vitest-and-jest), because the project contains ES modules.",
  'node-24': 'Node 24.9 or later, because Jest cannot load Nest 12 with `require()` on earlier versions.',
  'no-jest-29': 'Jest 29 cannot load Nest 12 with `require()`.',
  'no-rspack': 'The CLI of Nest 11 does not support rspack.',
  'no-webpack': 'With webpack, the CLI builds CommonJS, which does not run in an ESM project.',
  'no-swc-11': 'With SWC, the CLI of Nest 11 builds CommonJS, which does not run in an ESM project.',
});

/** @typedef {keyof typeof NOTES} Note */

/**
 * Tools that run tests or build programs, with a note for each project that has a requirement or is not supported. If a note starts with
 * `no-`, the tool does not support the project.
 *
 * @type {readonly { readonly tool: string; readonly label: string; readonly kind: 'test' | 'build'; readonly notes: Readonly<Partial<Record<Project, Note>>> }[]}
 */
export const TOOLS = [
  ...['ts-jest', '@swc/jest'].flatMap((transform) => [
    {
      tool: `jest-30 ${transform}`,
      label: `Jest 30 with ${transform}`,
      kind: /** @type {const} */ ('test'),
      notes: /** @type {const} */ ({
        'nest-11-esm': 'jest-esm',
        'nest-12-esm': 'jest-esm',
        'nest-12-commonjs': 'node-24',
      }),
    },
    {
      tool: `jest-29 ${transform}`,
      label: `Jest 29 with ${transform}`,
      kind: /** @type {const} */ ('test'),
      notes: /** @type {const} */ ({
        'nest-11-esm': 'jest-esm',
        'nest-12-esm': 'jest-esm',
        'nest-12-commonjs': 'no-jest-29',
      }),
    },
  ]),
  { tool: 'vitest', label: 'Vitest 4', kind: 'test', notes: {} },
  { tool: 'node:test', label: '`node:test`', kind: 'test', notes: {} },
  { tool: 'tsc', label: '`nest build` with tsc', kind: 'build', notes: {} },
  { tool: 'swc', label: '`nest build` with SWC', kind: 'build', notes: { 'nest-11-esm': 'no-swc-11' } },
  {
    tool: 'webpack',
    label: '`nest build` with webpack',
    kind: 'build',
    notes: { 'nest-11-esm': 'no-webpack', 'nest-12-esm': 'no-webpack' },
  },
  {
    tool: 'rspack',
    label: '`nest build` with rspack',
    kind: 'build',
    notes: { 'nest-11-commonjs': 'no-rspack', 'nest-11-esm': 'no-rspack' },
  },
];

/** Versions of TypeScript that check the types of a project. */
export const TYPESCRIPTS = ['5.2', '5.4', '5.7', '5.8', '5.9', '6.0'];

/** Combinations of project and module resolution to check. `since`: first TypeScript version to check, if earlier ones do not work. */
/** @type {readonly { readonly moduleResolution: string; readonly module: string; readonly project: Project; readonly since?: string }[]} */
export const RESOLUTIONS = [
  { moduleResolution: 'node10', module: 'commonjs', project: 'nest-11-commonjs' },
  { moduleResolution: 'nodenext', module: 'nodenext', project: 'nest-11-commonjs' },
  { moduleResolution: 'nodenext', module: 'nodenext', project: 'nest-11-esm' },
  { moduleResolution: 'bundler', module: 'esnext', project: 'nest-11-esm' },
  { moduleResolution: 'nodenext', module: 'nodenext', project: 'nest-12-esm' },
  { moduleResolution: 'bundler', module: 'esnext', project: 'nest-12-esm' },
  // Earlier versions reject imports of ES modules such as Nest 12 in CommonJS.
  { moduleResolution: 'nodenext', module: 'nodenext', project: 'nest-12-commonjs', since: '5.8' },
];
