import { defineConfig } from 'vitest/config';
import { ISOLATED, OUTPUT, SHARED, SHIPPING, SOCKET_ENV, TAGS, TEST_CODE, TRANSPORT } from './vitest.config.mjs';

// For `npm run pack:check`: long tests, and tests of the published package, its docs' programs, the demo, and the benchmarks. Also runs the
// full versions of the tests that `npm test` shortens, and repeats tests on grpc-js's channel.
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
          include: [...SHIPPING, 'test/streams/many-streams.e2e-spec.ts', 'test/policies/many-calls.e2e-spec.ts'],
          // Programs that a test starts inherit these variables.
          env: { DEMO_PATIENCE: '4', FULL_TABLES: '1' },
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: 'channel-path',
          include: [
            'test/{calls,operators,outages,policies,scenarios,streams}/**/*.e2e-spec.ts',
            'test/nest/{drain,shutdown,interceptors}.e2e-spec.ts',
            'test/inbound/propagation.e2e-spec.ts',
          ],
          exclude: [
            '**/node_modules/**',
            // These tests compare the two paths.
            'test/calls/{both-paths,call-path}.e2e-spec.ts',
            ...ISOLATED,
          ],
          // All calls pass through grpc-js's channel.
          env: { NESTJS_RESILIENT_GRPC_DIRECT_CALLS: 'off' },
          globalSetup: ['test/support/bundle-children.ts'],
          ...SHARED,
          maxWorkers: 6,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: 'own-transport',
          include: [
            ...TRANSPORT,
            'test/frames/*.e2e-spec.ts',
            'test/guides/{proxies,tls}/*.e2e-spec.ts',
            'test/{addresses,calls,dashboard,doctor,errors,health,inbound,kubernetes,nest,operators,outages,policies}/**/*.e2e-spec.ts',
            'test/{scenarios,server,streams,telemetry,testing}/**/*.e2e-spec.ts',
          ],
          // HTTP/2 forbids streams that are pushed although the client has disabled them; they end the connection.
          exclude: ['**/node_modules/**', 'test/calls/pushed-streams.e2e-spec.ts', ...ISOLATED, ...SHIPPING],
          env: SOCKET_ENV,
          globalSetup: ['test/support/bundle-children.ts'],
          ...SHARED,
          maxWorkers: 6,
          sequence: { groupOrder: 3 },
        },
      },
    ],
  },
});
