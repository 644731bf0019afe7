import { defineConfig } from 'vitest/config';
import library, { SHIPPING } from './vitest.config.mjs';

// For `npm run pack:check`: what is published, as its users find it, the programs of its docs, its demo and its benchmarks.
export default defineConfig({
  oxc: library.oxc,
  resolve: library.resolve,
  test: {
    include: SHIPPING,
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
