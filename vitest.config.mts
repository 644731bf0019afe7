import { defineConfig } from 'vitest/config';
import { FileReporter } from './test/support/file-reporter.js';

const inRoot = (path: string) => new URL(path, import.meta.url).pathname;
const library = (file: string) => inRoot(`libs/resilient-grpc/src/${file}`);

/** Of single modules, in time that is virtual: all in one process, whose modules are loaded once. */
const UNITS = ['{libs/*/src,src}/**/*.spec.ts'];

/** What mostly waits for time to pass, in peers that are silent and processes that end. */
const PATIENT = [
  'test/health/long.e2e-spec.ts',
  'test/outages/{staying-down,dead-connections}.e2e-spec.ts',
  'test/server/{connections,shutdown,vanished}.e2e-spec.ts',
  'test/streams/silence.e2e-spec.ts',
];

/** What measures memory, or clients side by side, or loads the machine or changes grpc-js by itself: nothing runs beside it. */
const ALONE = [
  'test/telemetry/*-beside-others.e2e-spec.ts',
  'test/{server,streams}/memory.e2e-spec.ts',
  'test/calls/garbage.e2e-spec.ts',
  'test/policies/side-by-side.e2e-spec.ts',
  'test/outages/restart.e2e-spec.ts',
  'test/simulation/*.e2e-spec.ts',
];

/** What goes out with the library or beside it, for ten minutes: `npm run pack:check` alone. */
export const SHIPPING = [
  'test/{demo,package,consumers,upstream}/*.{spec,e2e-spec}.ts',
  'test/docs/{code-blocks,site}.e2e-spec.ts',
  // A browser with a dozen pages takes all there is.
  'test/dashboard/page.e2e-spec.ts',
  'test/bench.e2e-spec.ts',
];

/** `npm run promises` runs the tests with this tag one at a time and judges the durations they record. */
export const TAGS = [{ name: 'timed', description: 'Records wall-clock figures that npm run promises judges.' }];

/** The file that CI counts the tests in. */
const RESULTS_FILE = process.env['TEST_RESULTS_FILE'];

/** One line a file and failures in full; `--reporter verbose` shows each test. */
export const OUTPUT = {
  reporters: [
    new FileReporter(),
    ...(RESULTS_FILE === undefined ? [] : [['json', { outputFile: RESULTS_FILE }] as ['json', object]]),
  ],
  silent: 'passed-only' as const,
  slowTestThreshold: 600_000,
};

/** How test code is compiled, and what it imports as its users do. */
export const TEST_CODE = {
  // Nest injects by the types of constructor parameters, which only this pair of options emits.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: {
    // Tests import the library as its users do; the sources stand in for the build so that no build comes first.
    alias: [
      { find: /^nestjs-resilient-grpc$/, replacement: library('index.ts') },
      { find: /^nestjs-resilient-grpc\/(.+)$/, replacement: library('$1/index.ts') },
    ],
  },
};

export default defineConfig({
  ...TEST_CODE,
  test: {
    tags: TAGS,
    ...OUTPUT,
    setupFiles: ['test/setup.ts'],
    // Real servers and real faults on two cores: files one after another keep timings honest.
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
    projects: [
      { extends: true, test: { name: 'alone', include: ALONE } },
      {
        extends: true,
        test: {
          name: 'units',
          include: UNITS,
          isolate: false,
          fileParallelism: true,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      ...[
        { name: 'nest-12', include: ['test/**/*.{spec,e2e-spec}.ts'], exclude: [...PATIENT, ...ALONE], maxWorkers: 2 },
        { name: 'patient', include: PATIENT, exclude: [], maxWorkers: 3 },
      ].map(({ name, include, exclude, maxWorkers }, index) => ({
        extends: true as const,
        test: {
          name,
          include,
          exclude: ['**/node_modules/**', 'test/{nest-11,scenarios}/**', ...SHIPPING, ...exclude],
          // Modules are loaded once in a process, not once a file, which was a third of all the time.
          isolate: false,
          fileParallelism: true,
          maxWorkers,
          sequence: { groupOrder: index + 2 },
        },
      })),
      {
        // What touches Nest once more, with the Nest 11 of test/nest-11 in place of every @nestjs package; two files at a time.
        extends: true,
        resolve: { alias: [{ find: /^@nestjs\//, replacement: inRoot('test/nest-11/node_modules/@nestjs/') }] },
        test: {
          name: 'nest-11',
          isolate: false,
          fileParallelism: true,
          maxWorkers: 2,
          sequence: { groupOrder: 4 },
          include: [
            'libs/*/src/{nest,health,dashboard}/**/*.spec.ts',
            'libs/*/src/server/{*,errors/*}.spec.ts',
            'test/{nest,health,server,inbound,logs,errors}/**/*.e2e-spec.ts',
            'test/dashboard/{express,fastify}.e2e-spec.ts',
            'test/testing/override-grpc-client.e2e-spec.ts',
            'test/nest-11/*.spec.ts',
          ],
          // The Nest 11 of test/nest-11 has HTTP and gRPC alone, and processes of their own have no alias.
          exclude: [
            '**/node_modules/**',
            'test/health/long.e2e-spec.ts',
            'test/errors/{graphql,websockets}.e2e-spec.ts',
            'test/server/strangers/**',
            'test/server/{connections,memory,shutdown,vanished}.e2e-spec.ts',
          ],
        },
      },
      {
        // Every promise once more from outside; two files at a time, each with processes of its own.
        extends: true,
        test: {
          name: 'scenarios',
          isolate: false,
          include: ['test/scenarios/**/*.{spec,e2e-spec}.ts'],
          fileParallelism: true,
          maxWorkers: 2,
          sequence: { groupOrder: 5 },
        },
      },
    ],
  },
});
