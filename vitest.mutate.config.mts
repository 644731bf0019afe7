import { defineConfig } from 'vitest/config';

// For `npm run mutate`: only the specs of policy/. Excludes simulations, because they take seconds and would run for every mutant.
export default defineConfig({
  test: {
    include: ['libs/*/src/policy/**/*.spec.ts'],
    exclude: ['**/node_modules/**', '**/*.simulation.spec.ts'],
  },
});
