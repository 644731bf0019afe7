import { defineConfig } from 'vitest/config';
import { OUTPUT, SHIPPING, TAGS, TEST_CODE } from './vitest.config.mjs';

// For `npm run pack:check`: what is published, as its users find it, the programs of its docs, its demo and its benchmarks, and in
// full the tests that are short in `npm test`.
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
    // Programs that a test starts inherit them.
    env: { DEMO_PATIENCE: '4', FULL_TABLES: '1' },
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    // Limits for what hangs, on a machine that is busy with something else.
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
