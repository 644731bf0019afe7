import { defineConfig } from 'vitest/config';

// For `npm run pack:check`: what installs applications and builds the site, for minutes.
export default defineConfig({
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: {
    include: ['test/consumers/applications.e2e-spec.ts', 'test/docs/site.e2e-spec.ts'],
    setupFiles: ['test/setup.ts'],
    fileParallelism: false,
    testTimeout: 30_000,
  },
});
