import { builtinModules } from 'node:module';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const TESTS = ['**/*.spec.ts', '**/*.e2e-spec.ts', 'test/**'];

const ONE_DOOR =
  'Time and chance enter by the ports in time/ (Clock, Random), so that policies can be tried in virtual time.';

/** Constructs that are not written anywhere in the repository. */
const house = [
  {
    selector: 'TSEnumDeclaration',
    message: 'Write a union of strings, or a const object with its type: an enum is neither.',
  },
  { selector: 'ExportDefaultDeclaration', message: 'Export by name, so that a thing is called the same everywhere.' },
];

/** What reads the clock or rolls dice. `new Date(ms)` only converts, and is allowed. */
const clocksAndDice = [
  "MemberExpression[object.name='Date'][property.name='now']",
  "NewExpression[callee.name='Date'][arguments.length=0]",
  "CallExpression[callee.name='Date']",
  "MemberExpression[object.name='Math'][property.name='random']",
  "MemberExpression[object.name='process'][property.name=/^(hrtime|uptime)$/]",
  "MemberExpression[object.name='AbortSignal'][property.name='timeout']",
  "MemberExpression[object.name='globalThis'][property.name=/^(performance|setTimeout|setInterval|Date|Math)$/]",
  "MemberExpression[object.name='crypto'][property.name=/^(getRandomValues|randomUUID)$/]",
].map((selector) => ({ selector, message: ONE_DOOR }));

const doors = ['node:timers', 'node:timers/promises', 'node:perf_hooks'].map((name) => ({ name, message: ONE_DOOR }));
const bareBuiltins = builtinModules
  .filter((name) => !name.startsWith('node:'))
  .map((name) => ({ name, message: `Write node:${name}.` }));

/**
 * In the library, timers, clocks and chance enter by time/ alone. setImmediate is free: it is no length of time, and the only
 * remedy for a call that is cancelled in the tick it began. test/architecture.spec.ts shows that these rules bite.
 *
 * @type {import('eslint').Linter.Config}
 */
export const oneDoor = {
  files: ['libs/*/src/**/*.ts'],
  ignores: ['libs/*/src/time/**', 'libs/*/src/testing/**', '**/*.spec.ts'],
  rules: {
    'no-restricted-globals': [
      'error',
      ...['performance', 'setTimeout', 'setInterval'].map((name) => ({ name, message: ONE_DOOR })),
    ],
    'no-restricted-syntax': ['error', ...house, ...clocksAndDice],
    'no-restricted-imports': ['error', { paths: [...bareBuiltins, ...doors] }],
  },
};

export default defineConfig(
  // The folder of ts-proto has types only beside what ts-proto writes for it.
  { ignores: ['**/dist/**', '**/node_modules/**', '**/coverage/**', '**/*.pb.ts', 'test/consumers/ts-proto/**'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts', '**/*.mts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.check.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-syntax': ['error', ...house],
      'no-restricted-imports': ['error', { paths: bareBuiltins }],
      // Leaves classes that Nest injects alone: it knows what emitDecoratorMetadata needs as a value.
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      '@typescript-eslint/no-extraneous-class': ['error', { allowWithDecorator: true }],
      '@typescript-eslint/no-unnecessary-condition': [
        'error',
        { allowConstantLoopConditions: 'only-allowed-literals' },
      ],
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_', caughtErrors: 'all' },
      ],
      // `async` without `await` turns a throw into a rejection, which callers of a promise count on.
      '@typescript-eslint/require-await': 'off',
      // Nest's own signatures (`getService<T>(name)`) name a type once.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Status codes are a union of numbers here and an enum in grpc-js; both are the numbers of gRPC.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      '@typescript-eslint/no-unsafe-enum-comparison': 'off',
      // Nest declares its options as classes, and means interfaces.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // An overload with a sentence of its own is documentation.
      '@typescript-eslint/unified-signatures': 'off',
    },
  },
  oneDoor,
  {
    files: ['**/*.mjs', '**/*.cjs', '**/*.js'],
    extends: [tseslint.configs.strict],
    rules: { eqeqeq: 'error', '@typescript-eslint/no-extraneous-class': 'off' },
  },
  {
    // Programs talk to their terminal.
    files: ['src/**/*.ts', 'bench/**', 'tools/**', '.ci/**'],
    rules: { 'no-console': 'off' },
  },
  {
    files: TESTS,
    rules: {
      'no-console': 'off',
      '@typescript-eslint/no-explicit-any': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unsafe-type-assertion': 'off',
      '@typescript-eslint/no-unnecessary-condition': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      '@typescript-eslint/no-extraneous-class': 'off',
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/unbound-method': 'off',
    },
  },
  {
    // Configuration files are read by tools that want a default export, and belong to no program of TypeScript.
    files: ['*.mts', '*.mjs', '.*.mjs', '.*.cjs'],
    rules: { 'no-restricted-syntax': 'off' },
  },
);
