import { defineConfig } from 'vitest/config';
import { ISOLATED, OUTPUT, SHARED, SHIPPING, TAGS, TEST_CODE } from './vitest.config.mjs';

// For `npm run pack:check`: long tests, and tests of the published package, its docs' programs, the demo, and the benchmarks. Also runs the
// full versions of the tests that `npm test` shortens, and repeats tests on grpc-js's transport.
export default defineConfig({
  ...TEST_CODE,
  test: {
    tags: TAGS,
    ...OUTPUT,
    setupFiles: ['test/setup.ts'],
    // Tests use TLS with 127.0.0.1, and Node warns that an IP address is not a server name.
    execArgv: ['--disable-warning=DEP0123'],
    // Limits for tests that hang, long enough for a busy machine.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    projects: [
      {
        extends: true,
        test: {
          name: 'shipping',
          include: [...SHIPPING, 'test/policies/many-calls.e2e-spec.ts', 'test/streams/pushed-requests.e2e-spec.ts'],
          // Programs that a test starts inherit these variables.
          env: { DEMO_PATIENCE: '4', FULL_TABLES: '1' },
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'grpc-js-transport',
          // What holds without the transport of this library; other tests need its evidence or its pace of reconnecting.
          include: [
            'test/{nest,streams}/**/*.e2e-spec.ts',
            'test/server/{errors,health,inbound,lifecycle,options-from-elsewhere,reflection,wrong-options}.e2e-spec.ts',
            'test/server/{handlers/{answers,async-context},parity/*}.e2e-spec.ts',
            'test/inbound/{propagation,fastify,propagation-scope}.e2e-spec.ts',
            'test/scenarios/{server-restarted,closed-while-idle,idle-and-warm,idle-times,dropped-each-second}.e2e-spec.ts',
            'test/scenarios/{shutdown-ends-streams,waiting-calls-released,quiet-feeds,connection-lost-during-write}.e2e-spec.ts',
            'test/scenarios/{cold-start-during-an-outage,retry-budget-during-an-outage,overall-timeouts}.e2e-spec.ts',
          ],
          exclude: [
            '**/node_modules/**',
            // Only the library's transport knows how many streams a server allows.
            'test/streams/stream-limit.e2e-spec.ts',
            ...ISOLATED,
            ...SHIPPING.filter((files) => !files.startsWith('test/scenarios/')),
          ],
          env: { NESTJS_RESILIENT_GRPC_TRANSPORT: 'grpc-js' },
          globalSetup: ['test/support/bundle-children.ts'],
          ...SHARED,
          maxWorkers: 6,
          sequence: { groupOrder: 2 },
        },
      },
    ],
  },
});
