import { defineConfig } from 'vitest/config';
import { TAGS, TEST_CODE } from './vitest.config.mjs';

// For `npm run promises`, which selects the tests tagged 'timed' and runs them one at a time in one process.
export default defineConfig({
  ...TEST_CODE,
  test: {
    tags: TAGS,
    include: ['test/**/*.{spec,e2e-spec}.ts'],
    exclude: ['**/node_modules/**', 'test/{nest-11,scenarios}/**'],
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    maxConcurrency: 1,
    isolate: false,
    silent: 'passed-only',
    // For test/frames, with different sequences in each run.
    env: {
      FRAME_SEQUENCES: '10000',
      FRAME_MUTATIONS: '1000000',
      FRAME_CORE_SEQUENCES: '100000',
      FRAME_SEED: String(Math.trunc(Math.random() * 2 ** 31)),
    },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
