import { builtinModules } from 'node:module';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const TESTS = ['**/*.spec.ts', '**/*.e2e-spec.ts', 'test/**'];

const USE_TIME = 'Use Clock and Random from time/, so that policies can be tested in virtual time.';

/** Constructs that are not allowed in TypeScript files, except in configuration files. */
const forbiddenConstructs = [
  {
    selector: 'TSEnumDeclaration',
    message: 'Write a union of strings, or a const object with its type, instead of an enum.',
  },
  { selector: 'ExportDefaultDeclaration', message: 'Use a named export, so that the name is the same everywhere.' },
];

/** Expressions that read the clock, start timers, or return random numbers. `new Date(ms)` only converts, and is allowed. */
const timeAndRandomness = [
  "MemberExpression[object.name='Date'][property.name='now']",
  "NewExpression[callee.name='Date'][arguments.length=0]",
  "CallExpression[callee.name='Date']",
  "MemberExpression[object.name='Math'][property.name='random']",
  "MemberExpression[object.name='process'][property.name=/^(hrtime|uptime)$/]",
  "MemberExpression[object.name='AbortSignal'][property.name='timeout']",
  "MemberExpression[object.name='globalThis'][property.name=/^(performance|setTimeout|setInterval|Date|Math)$/]",
  "MemberExpression[object.name='crypto'][property.name=/^(getRandomValues|randomUUID)$/]",
].map((selector) => ({ selector, message: USE_TIME }));

const timeModules = ['node:timers', 'node:timers/promises', 'node:perf_hooks'].map((name) => ({
  name,
  message: USE_TIME,
}));
const bareBuiltins = builtinModules
  .filter((name) => !name.startsWith('node:'))
  .map((name) => ({ name, message: `Write node:${name}.` }));

/**
 * In the library, only time/ accesses timers, clocks, and random numbers; testing/ and specs are exempt. setImmediate is
 * imported from there, so that tests that fake the global one do not stop calls. test/architecture.spec.ts checks that these rules detect violations.
 *
 * @type {import('eslint').Linter.Config}
 */
export const timeRules = {
  files: ['libs/*/src/**/*.ts'],
  ignores: ['libs/*/src/time/**', 'libs/*/src/testing/**', '**/*.spec.ts'],
  rules: {
    'no-restricted-globals': [
      'error',
      ...['performance', 'setTimeout', 'setInterval', 'setImmediate'].map((name) => ({ name, message: USE_TIME })),
    ],
    'no-restricted-syntax': ['error', ...forbiddenConstructs, ...timeAndRandomness],
    'no-restricted-imports': ['error', { paths: [...bareBuiltins, ...timeModules] }],
  },
};

/** Matches what is neither in a method that knows its protection nor in one of the `methods`, a pattern. */
const unless = (methods) =>
  [":has(Identifier[name='protection'])", `[key.name=/^(?:${methods})$/]`]
    .map((which) => `:not(:matches(MethodDefinition, PropertyDefinition)${which} *)`)
    .join('');

/** Ends, refusals, and hold-offs by the will of this side, except where the user of a stream, or the end of a connection, decides. */
const unnamedProtections = [
  `CallExpression[callee.object.property.name='writer'][callee.property.name=/^(?:goaway|reset)$/]${unless('cancel|remoteEnded|writeGoaway|writeReset')}`,
  `CallExpression[callee.property.name='writeReset']${unless('cancel|localEnded')}`,
  `CallExpression[callee.property.name=/^(?:destroy|resetAndDestroy)$/]:matches([callee.object.name=/^(?:socket|accepted|tcp)$/], [callee.object.property.name=/^(?:socket|accepted|tcp)$/])${unless('ended|close|closeForAge|connected|destroy|destroyUnfinished')}`,
  `CallExpression Identifier[name='REFUSED_STREAM']${unless('refuse')}`,
  `AssignmentExpression[left.property.name='holdUntil']${unless('disconnected|answeredTo')}`,
].map((selector) => ({
  selector,
  message: 'Pass a ProtectionId, so that users see why; see docs/internals/protections.md.',
}));

/** @type {import('eslint').Linter.Config} */
export const protectionRules = {
  files: [
    'transport',
    'channel/subchannel/subchannel-connection.ts',
    'channel/connection/address-histories.ts',
    'server/grpc',
  ].map((path) => `libs/*/src/${path.endsWith('.ts') ? path : `${path}/**/*.ts`}`),
  ignores: ['**/*.spec.ts'],
  rules: {
    'no-restricted-syntax': ['error', ...forbiddenConstructs, ...timeAndRandomness, ...unnamedProtections],
  },
};

export default defineConfig(
  // test/consumers/ts-proto can be type-checked only after ts-proto has generated its code.
  {
    ignores: [
      '**/dist/**',
      '**/node_modules/**',
      '**/coverage/**',
      '**/*.pb.ts',
      '**/*_pb.ts',
      'test/consumers/ts-proto/**',
    ],
  },
  { linterOptions: { reportUnusedDisableDirectives: 'error' } },
  {
    files: ['**/*.ts', '**/*.mts'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { project: './tsconfig.check.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      eqeqeq: 'error',
      'no-console': 'error',
      'no-restricted-syntax': ['error', ...forbiddenConstructs],
      'no-restricted-imports': ['error', { paths: bareBuiltins }],
      // Ignores files with decorators, because emitDecoratorMetadata requires value imports of the classes that Nest injects.
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
      // `async` without `await` turns a thrown error into a rejection. Callers expect a rejection from a function that returns a promise.
      '@typescript-eslint/require-await': 'off',
      // Nest's own signatures (`getService<T>(name)`) use a type parameter only once.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // Status codes are a union of numbers here and an enum in grpc-js; both have gRPC's numbers.
      '@typescript-eslint/no-unsafe-enum-assignment': 'off',
      '@typescript-eslint/no-unsafe-enum-comparison': 'off',
      // Nest declares its options as classes, but uses them as interfaces.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // Separate overloads can have separate doc comments.
      '@typescript-eslint/unified-signatures': 'off',
    },
  },
  timeRules,
  protectionRules,
  {
    // Code that reads bytes by computed indexes, which `noUncheckedIndexedAccess` cannot prove.
    files: ['libs/*/src/transport/**'],
    rules: { '@typescript-eslint/no-non-null-assertion': 'off', '@typescript-eslint/prefer-for-of': 'off' },
  },
  {
    files: ['**/*.mjs', '**/*.cjs', '**/*.js'],
    extends: [tseslint.configs.strict],
    rules: { eqeqeq: 'error', '@typescript-eslint/no-extraneous-class': 'off' },
  },
  {
    // Programs write to the terminal.
    files: ['src/**/*.ts', 'examples/**', 'bench/**', 'tools/**', '.ci/**'],
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
    // The tools that read configuration files require a default export.
    files: ['*.mts', '*.mjs', '.*.mjs', '.*.cjs'],
    rules: { 'no-restricted-syntax': 'off' },
  },
);
