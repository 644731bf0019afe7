import { defineConfig } from 'vitest/config';
import { OUTPUT, SHIPPING, TAGS, TEST_CODE } from './vitest.config.mjs';

// For `npm run pack:check`: tests of the published package, of the programs in its docs, of the demo, and of the benchmarks. Also runs
// the full versions of the tests that `npm test` shortens.
export default defineConfig({
  ...TEST_CODE,
  test: {
    tags: TAGS,
    ...OUTPUT,
    include: [
      ...SHIPPING,
      'test/streams/{memory,many-streams}.e2e-spec.ts',
      'test/policies/many-calls.e2e-spec.ts',
      'test/addresses/churn.e2e-spec.ts',
      'test/fleet.spec.ts',
    ],
    // Programs that a test starts inherit these variables.
    env: { DEMO_PATIENCE: '4', FULL_TABLES: '1' },
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    // Limits for tests that hang, long enough for a busy machine.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
