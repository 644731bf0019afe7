import { defineConfig } from 'vitest/config';
import { SHIPPING } from './vitest.config.mjs';

// For `npm run pack:check`: what is published, as its users find it.
export default defineConfig({
  test: {
    include: SHIPPING,
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
    hookTimeout: 30_000,
  },
});
