import { defineConfig, type Plugin } from 'vitest/config';
import { FileReporter } from './test/support/file-reporter.js';
import { LongestFirst } from './test/support/longest-first.js';

const inRoot = (path: string) => new URL(path, import.meta.url).pathname;
const library = (file: string) => inRoot(`libs/resilient-grpc/src/${file}`);

/** Specs of single modules, next to the sources. */
const UNITS = ['{libs/*/src,src}/**/*.spec.ts'];

/**
 * Tests whose files each need their own process, because they change grpc-js for the whole process, or because they measure memory: V8
 * allocates objects in the old space if earlier tests retained such objects, and only major collections release them.
 */
export const ISOLATED = ['test/telemetry/*-beside-*.e2e-spec.ts', 'test/calls/retained-memory.e2e-spec.ts'];

/** Tests of features that can differ between Nest 11 and Nest 12: modules, hooks, filters, guards, handlers, Terminus, HTTP. */
const NEST_11 = [
  'libs/*/src/server/errors/*.spec.ts',
  'test/nest/{module,interceptors,drain,shutdown,hero-sample,nest-options,injections,reserved-names}.e2e-spec.ts',
  'test/health/{channels,readiness}.e2e-spec.ts',
  'test/server/{errors,failing-handlers,health,lifecycle,options-from-elsewhere,inbound,wrong-options}.e2e-spec.ts',
  'test/server/handlers/*.e2e-spec.ts',
  'test/once/*.e2e-spec.ts',
  'test/server/parity/{beyond-nest,contracts,early-requests,enhancers,kinds,options,two-servers}.e2e-spec.ts',
  'test/inbound/{propagation,fastify,propagation-scope}.e2e-spec.ts',
  'test/logs/loggers.e2e-spec.ts',
  'test/errors/{express,fastify,rpc}.e2e-spec.ts',
  'test/dashboard/{express,fastify}.e2e-spec.ts',
  'test/testing/override-grpc-client.e2e-spec.ts',
  'test/nest-11/*.spec.ts',
];

/** Checks of the sources and of the docs as files, which run nothing of the library; `npm run check` runs them. */
const STRUCTURE = ['test/{architecture,imports}.spec.ts', 'test/docs/{guarantees,llms-files,pages,reference}.spec.ts'];

/** Tests that each use more than 5 s of CPU time: simulations, memory measurements, randomly generated options, heavy load, many
 * processes. */
const LONG = [
  'libs/*/src/messages/arriving-values.spec.ts',
  'libs/*/src/policy/{concurrency,ejection,overload}/*.simulation.spec.ts',
  'libs/*/src/policy/hedging/measured-delay.simulation.spec.ts',
  'test/simulation/*.{spec,e2e-spec}.ts',
  'test/fleet.spec.ts',
  'test/addresses/churn.e2e-spec.ts',
  'test/doctor/idle.e2e-spec.ts',
  'test/kubernetes/{doctor,process}.e2e-spec.ts',
  'test/nest/{any-options,secrets}.e2e-spec.ts',
  'test/outages/{restart,waiting-memory}.e2e-spec.ts',
  'test/scenarios/{cut-off-together,drains-under-load,mutually-dependent-gateways,one-unhealthy-endpoint}.e2e-spec.ts',
  'test/scenarios/{one-replica-failing,one-replica-slow,overloaded-server,quiet-feeds,rolling-deploy}.e2e-spec.ts',
  'test/scenarios/{stream-limit,thundering-herd,waiting-calls-released}.e2e-spec.ts',
  // Three servers, of grpcio, grpc-go, and grpc-js.
  'test/scenarios/{mixed-servers-change,mixed-servers-stop-serving,one-of-mixed-servers-failing}.e2e-spec.ts',
  'test/guides/{proxies/proxies,xds/xds}.e2e-spec.ts',
  'test/seams/each-name.e2e-spec.ts',
  'test/server/{memory,health-memory}.e2e-spec.ts',
  'test/streams/{many-streams,memory}.e2e-spec.ts',
];

/**
 * Tests of the published package and of its docs, demo, and benchmarks, and the long tests. They take about 30 minutes;
 * `npm run pack:check` runs them.
 */
export const SHIPPING = [
  'test/{package,consumers,migrate,upstream}/*.{spec,e2e-spec}.ts',
  'test/demo/{page,scenarios}.e2e-spec.ts',
  // The client's transport against other implementations.
  'test/transport/*.e2e-spec.ts',
  // The server with clients of other implementations.
  'test/server/other-runtimes/*.e2e-spec.ts',
  'test/docs/{code-blocks,site}.e2e-spec.ts',
  // Starts two programs from their 800 unbundled files.
  'examples/agents/*.spec.ts',
  // A browser with a dozen pages uses the whole machine.
  'test/dashboard/{page,accessibility}.e2e-spec.ts',
  'test/operations/{alerts,prometheus}.e2e-spec.ts',
  'test/server/bundle.e2e-spec.ts',
  // Real databases.
  'test/once/stores/*.e2e-spec.ts',
  'test/bench.e2e-spec.ts',
  ...LONG,
];

/** Tags of tests. `npm run promises` runs the tests tagged 'timed' one at a time and judges the figures that they record. */
export const TAGS = [{ name: 'timed', description: 'Records wall-clock figures, which "npm run promises" judges.' }];

/** File for the JSON report, from which CI counts the tests. */
const RESULTS_FILE = process.env['TEST_RESULTS_FILE'];

/** Output settings: one line per file, and failures in full. `--reporter verbose` shows each test. */
export const OUTPUT = {
  reporters: [
    new FileReporter(),
    ...(RESULTS_FILE === undefined ? [] : [['json', { outputFile: RESULTS_FILE }] as ['json', object]]),
  ],
  silent: 'passed-only' as const,
  slowTestThreshold: 600_000,
};

/** Replaces the testing entry with `test/support/patient-testing.ts`, which imports the entry itself. */
const patientTesting: Plugin = {
  name: 'patient-testing',
  enforce: 'pre',
  resolveId: (id, importer) => {
    const patient = inRoot('test/support/patient-testing.ts');
    return id === library('testing/index.ts') && importer !== patient ? patient : undefined;
  },
};

/** Compiler options of tests, and aliases for importing the library as users do. */
export const TEST_CODE = {
  plugins: [patientTesting],
  // Nest injects by the types of constructor parameters, which are emitted only with both options.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  resolve: {
    // Tests run against the sources, so that they never use an outdated build.
    alias: [
      { find: /^nestjs-resilient-grpc$/, replacement: library('index.ts') },
      { find: /^nestjs-resilient-grpc\/(.+)$/, replacement: library('$1/index.ts') },
    ],
  },
};

/**
 * Settings of files that share processes. Each process loads each module once. There are more processes than cores, because most tests spend
 * most of their time waiting.
 */
export const SHARED = { isolate: false, fileParallelism: true };

/**
 * Settings of projects that run before the others in few processes, because a process takes 4 s of CPU time to load Nest and to compile it,
 * and these tests wait little.
 */
const FEW = { maxWorkers: 3, sequence: { groupOrder: 0 } };

export default defineConfig({
  ...TEST_CODE,
  test: {
    tags: TAGS,
    ...OUTPUT,
    setupFiles: ['test/setup.ts'],
    // Tests use TLS with 127.0.0.1, and Node warns that an IP address is not a server name.
    execArgv: ['--disable-warning=DEP0123'],
    maxWorkers: 5,
    sequence: { sequencer: LongestFirst },
    // Limits for tests that hang, long enough for a busy machine.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: 'structure', include: STRUCTURE } },
      { extends: true, test: { name: 'isolated', include: ISOLATED, ...FEW } },
      {
        extends: true,
        test: {
          name: 'nest-12',
          include: [...UNITS, 'test/**/*.{spec,e2e-spec}.ts', 'examples/**/*.spec.ts'],
          exclude: ['**/node_modules/**', 'test/nest-11/**', ...SHIPPING, ...ISOLATED, ...STRUCTURE],
          globalSetup: ['test/support/bundle-children.ts'],
          ...SHARED,
          sequence: { groupOrder: 1 },
        },
      },
      {
        // Runs these tests again, with the Nest 11 packages of test/nest-11 in place of every @nestjs package.
        extends: true,
        resolve: { alias: [{ find: /^@nestjs\//, replacement: inRoot('test/nest-11/node_modules/@nestjs/') }] },
        test: { name: 'nest-11', include: NEST_11, exclude: ['**/node_modules/**'], ...SHARED, ...FEW },
      },
    ],
  },
});
