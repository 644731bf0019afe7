import { defineConfig } from 'vitest/config';
import { OUTPUT, SHIPPING, TAGS, TEST_CODE } from './vitest.config.mjs';

// For `npm run pack:check`: what is published, as its users find it, the programs of its docs, its demo and its benchmarks.
export default defineConfig({
  ...TEST_CODE,
  test: {
    tags: TAGS,
    ...OUTPUT,
    include: SHIPPING,
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
