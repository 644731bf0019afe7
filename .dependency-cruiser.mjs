/**
 * What may import what. The rules are made from the table below; test/architecture.spec.ts runs them, and shows
 * that they bite.
 */

const LIBRARY = 'libs/resilient-grpc/src';

const NEST = ['@nestjs/common', '@nestjs/core', '@nestjs/microservices', 'reflect-metadata'];

/**
 * Folders of the library: what each is, its level, the packages it may import, and those whose types alone it may import. An
 * import goes to a lower level only; folders of one level never import each other. docs/architecture.md shows them.
 *
 * `@grpc/grpc-js` is named at run time where connections are made, and nowhere else.
 */
export const FOLDERS = {
  status: { is: 'status codes and their names', level: 0, packages: [] },
  time: { is: 'the one door of clocks, timers and chance', level: 0, packages: [], node: true },
  errors: { is: 'what callers are given', level: 1, packages: [], types: ['@grpc/grpc-js'] },
  policy: { is: 'decisions over numbers, without effects', level: 2, packages: ['valibot'] },
  call: {
    is: 'the waist: what a call, an attempt and a transport are',
    level: 3,
    packages: ['rxjs'],
    types: ['@grpc/grpc-js'],
  },
  operators: { is: 'of RxJS, one a file, usable alone', level: 4, packages: ['rxjs'], types: ['@grpc/grpc-js'] },
  channel: {
    is: 'a channel of grpc-js: its connections, its outages, who waits',
    level: 4,
    packages: ['@grpc/grpc-js', 'rxjs'],
    node: true,
  },
  telemetry: {
    is: 'logs, metrics and traces of what is told',
    level: 4,
    packages: ['@nestjs/common', '@opentelemetry/api', 'rxjs'],
    types: ['@grpc/grpc-js'],
  },
  client: {
    is: 'a call and its attempts over a transport; drain',
    level: 5,
    packages: ['@grpc/proto-loader', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  nest: {
    is: 'modules, tokens, life cycle, filters',
    level: 6,
    packages: [...NEST, '@grpc/proto-loader', '@nestjs/websockets', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  health: {
    is: 'indicators for Terminus',
    level: 7,
    packages: [...NEST, '@nestjs/terminus', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
  },
  server: {
    is: 'the strategy that serves and drains',
    level: 7,
    packages: [...NEST, '@grpc/grpc-js', '@grpc/proto-loader', '@grpc/reflection', 'rxjs', 'valibot'],
    node: true,
  },
  dashboard: {
    is: 'the page and its figures',
    level: 7,
    packages: [...NEST, 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  testing: {
    is: 'fakes, servers, faults, leaks',
    level: 7,
    packages: ['@grpc/grpc-js', '@grpc/proto-loader', '@nestjs/common', 'rxjs'],
    types: ['@nestjs/testing'],
    node: true,
  },
  // A program over all of them.
  doctor: { is: 'the command', level: 8, packages: ['@grpc/grpc-js', '@grpc/proto-loader', 'rxjs'], node: true },
};

// Specs ship nowhere, and may borrow the virtual clock of testing/ and the like.
const SPEC = '\\.(spec|e2e-spec)\\.ts$';

const source = (folder) => ({ path: `^${LIBRARY}/${folder}/`, pathNot: SPEC });
const packagePath = (names) => `(^|/)node_modules/(@types/)?(${names.join('|')})(/|$)`;
// None of them: an expression that nothing matches.
const anyOf = (names) => (names.length === 0 ? '^$' : packagePath(names));

function rulesOf([folder, { level, packages, types = [], node = false }]) {
  const notBelow = Object.entries(FOLDERS)
    .filter(([name, other]) => name !== folder && other.level >= level)
    .map(([name]) => name);
  return [
    {
      name: `${folder}-imports-down`,
      comment: `${folder}/ is at level ${level}: it may import lower levels, never ${notBelow.join(', ')} or an index.ts.`,
      severity: 'error',
      from: source(folder),
      to: {
        path: [...(notBelow.length ? [`^${LIBRARY}/(${notBelow.join('|')})/`] : []), `^${LIBRARY}/(.*/|)index\\.ts$`],
      },
    },
    {
      name: `${folder}-packages`,
      comment: `${folder}/ may import ${packages.join(', ') || 'no package'}${types.length ? `, and types of ${types.join(', ')}` : ''}.`,
      severity: 'error',
      from: source(folder),
      to: { path: '(^|/)node_modules/', pathNot: anyOf([...packages, ...types]), dependencyTypesNot: ['core'] },
    },
    ...(types.length
      ? [
          {
            name: `${folder}-types-only`,
            comment: `${folder}/ may import types of ${types.join(', ')}, nothing at run time.`,
            severity: 'error',
            from: source(folder),
            to: { path: packagePath(types), dependencyTypesNot: ['type-only'] },
          },
        ]
      : []),
    ...(node
      ? []
      : [
          {
            name: `${folder}-no-node`,
            comment: `${folder}/ runs anywhere: it imports nothing of Node.`,
            severity: 'error',
            from: source(folder),
            to: { dependencyTypes: ['core'] },
          },
        ]),
  ];
}

/** @type {import('dependency-cruiser').IForbiddenRuleType[]} */
const forbidden = [
  {
    name: 'no-cycles',
    comment: 'A cycle has no lowest part to begin with.',
    severity: 'error',
    from: {},
    to: { circular: true },
  },
  {
    name: 'resolvable',
    comment: 'The file or package does not exist, or is not in package.json.',
    severity: 'error',
    from: {},
    to: { couldNotResolve: true },
  },
  {
    name: 'known-folders',
    comment: `The library has the folders ${Object.keys(FOLDERS).join(', ')}; a new one gets its level in .dependency-cruiser.mjs.`,
    severity: 'error',
    from: {},
    to: {
      path: `^${LIBRARY}/`,
      pathNot: [`^${LIBRARY}/(${Object.keys(FOLDERS).join('|')})/`, `^${LIBRARY}/index\\.ts$`],
    },
  },
  {
    name: 'library-alone',
    comment: 'The library knows nothing of the demo, the tests and the benchmarks, and never imports itself by name.',
    severity: 'error',
    from: { path: '^libs/' },
    to: { path: '^(src|test|bench)/|^libs/[^/]+/dist/' },
  },
  {
    name: 'by-package-name',
    comment: 'The demo, test/ and bench/ import the library as its users do: by its package name, through `exports`.',
    severity: 'error',
    from: { path: '^(src|test|bench)/' },
    to: { path: '^libs/[^/]+/src/' },
  },
  {
    name: 'demo-alone',
    comment: 'What ships does not import tests or benchmarks.',
    severity: 'error',
    from: { path: '^src/', pathNot: SPEC },
    to: { path: '^(test|bench)/' },
  },
  {
    name: 'loaded-when-needed',
    comment:
      'Of microservices and WebSockets nest/ takes what one of their handlers asks for: who serves HTTP alone loads neither.',
    severity: 'error',
    from: source('nest'),
    to: {
      path: packagePath(['@nestjs/microservices', '@nestjs/websockets']),
      dynamic: false,
      dependencyTypesNot: ['type-only'],
    },
  },
  {
    name: 'no-spec-import',
    comment: 'A spec is the end of the line.',
    severity: 'error',
    from: {},
    to: { path: SPEC },
  },
  ...Object.entries(FOLDERS).flatMap(rulesOf),
];

export default {
  forbidden,
  options: {
    // What a page imports is found by its server; what ts-proto writes is there only in a test.
    exclude: { path: ['^src/.*/public/', '^test/consumers/ts-proto/'] },
    // Imports of types count: a level that needs the types of a higher one is not lower.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.check.json' },
    doNotFollow: { path: ['(^|/)(node_modules|dist)/'] },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      // Longer than a run takes: by default, files are looked up again after 4 s.
      cachedInputFileSystem: { cacheDuration: 600_000 },
    },
  },
};
