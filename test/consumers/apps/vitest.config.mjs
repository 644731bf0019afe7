import { defineConfig } from 'vitest/config';

export default defineConfig({
  // Emits decorator metadata, because Nest injects by the types of constructor parameters.
  oxc: { decorator: { legacy: true, emitDecoratorMetadata: true } },
  test: { include: ['*.vitest.ts'], testTimeout: 120_000, hookTimeout: 120_000 },
});
