/**
 * Import rules. The rules of the library's folders are created from the table below.
 * test/architecture.spec.ts runs all rules.
 */

const LIBRARY = 'libs/resilient-grpc/src';

const NEST = ['@nestjs/common', '@nestjs/core', '@nestjs/microservices', 'reflect-metadata'];

/**
 * Folders of the library. `packages` lists the packages that a folder may import. `types` lists the packages from which the folder may
 * import only types. `node` is true if the folder may import Node modules. Imports point to lower levels; folders at the same level never
 * import each other. docs/internals/architecture.md shows the table.
 *
 * Only folders that create connections, servers, or resolvers import `@grpc/grpc-js` at run time.
 */
export const FOLDERS = {
  status: { is: 'status codes and their names', level: 0, packages: [] },
  time: { is: 'the only source of time, timers, and randomness', level: 0, packages: [], node: true },
  transport: { is: 'HTTP/2 for gRPC: bytes in, events out', level: 1, packages: [], node: true },
  errors: { is: 'errors that callers receive', level: 1, packages: [], types: ['@grpc/grpc-js'] },
  policy: { is: 'decisions, without timers or I/O', level: 2, packages: ['valibot'] },
  call: {
    is: 'interfaces of calls, attempts, and transports',
    level: 3,
    packages: ['rxjs'],
    types: ['@grpc/grpc-js'],
  },
  operators: {
    is: 'RxJS operators, one per file, usable alone',
    level: 4,
    packages: ['rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
  },
  channel: {
    is: 'a channel: connections, outages, waiting calls',
    level: 4,
    packages: ['@grpc/grpc-js', 'rxjs'],
    node: true,
  },
  messages: {
    is: 'types of messages; conversions and checks of their values',
    level: 4,
    packages: ['@grpc/proto-loader'],
  },
  telemetry: {
    is: 'logs, metrics, and traces',
    level: 4,
    packages: ['@nestjs/common', '@opentelemetry/api', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  client: {
    is: 'calls and their attempts over a transport; drain',
    level: 5,
    packages: ['@grpc/proto-loader', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  nest: {
    is: 'modules, tokens, lifecycle, filters',
    level: 6,
    packages: [...NEST, '@grpc/proto-loader', '@nestjs/websockets', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  health: {
    is: 'health indicators for Terminus',
    level: 7,
    packages: [...NEST, '@nestjs/terminus', 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
  },
  kubernetes: {
    is: 'the resolver of `kubernetes:` targets',
    level: 7,
    packages: ['@grpc/grpc-js', '@kubernetes/client-node', 'valibot'],
    node: true,
  },
  server: {
    is: 'the transport strategy that serves and drains',
    level: 7,
    packages: [...NEST, '@grpc/grpc-js', '@grpc/proto-loader', '@grpc/reflection', 'rxjs', 'valibot'],
    node: true,
  },
  dashboard: {
    is: 'the page and its data',
    level: 7,
    packages: [...NEST, 'rxjs', 'valibot'],
    types: ['@grpc/grpc-js'],
    node: true,
  },
  testing: {
    is: 'fakes, servers, faults, leak checks',
    level: 7,
    packages: ['@grpc/grpc-js', '@grpc/proto-loader', '@nestjs/common', 'rxjs', 'valibot'],
    types: ['@nestjs/testing'],
    node: true,
  },
  migrate: {
    is: 'the codemod of the command-line tool',
    level: 7,
    packages: ['ts-morph'],
    node: true,
  },
  // The only folder at its level, because it imports folders of level 7.
  doctor: {
    is: 'the command-line tool',
    level: 8,
    packages: ['@grpc/grpc-js', '@grpc/proto-loader', 'rxjs'],
    node: true,
  },
};

/**
 * Subfolders of folders that have several, in groups. A group may import, at run time, only the groups before it. The files of the folder itself
 * come last.
 */
const SUBFOLDERS = {
  channel: [['dns', 'quirks', 'tls'], ['connection'], ['outage', 'subchannel'], ['wire'], ['grpc-js']],
  client: [['caller', 'statistics'], ['interceptors', 'requests'], ['attempts', 'settings'], ['calls']],
  server: [['errors', 'overload'], ['grpc'], ['calls'], ['health']],
};

// Specs are not published, so they may import anything, such as the virtual clock of testing/.
const SPEC = '\\.(spec|e2e-spec)\\.ts$';

const source = (folder) => ({ path: `^${LIBRARY}/${folder}/`, pathNot: SPEC });
const packagePath = (names) => `(^|/)node_modules/(@types/)?(${names.join('|')})(/|$)`;
// Without names, the expression matches nothing.
const anyOf = (names) => (names.length === 0 ? '^$' : packagePath(names));

function rulesOf([folder, { level, packages, types = [], node = false }]) {
  const notBelow = Object.entries(FOLDERS)
    .filter(([name, other]) => name !== folder && other.level >= level)
    .map(([name]) => name);
  return [
    {
      name: `${folder}-imports-down`,
      comment: `${folder}/ is at level ${level}: it may import lower levels, but none of: ${[...notBelow, 'an index.ts'].join(', ')}.`,
      severity: 'error',
      from: source(folder),
      to: {
        path: [...(notBelow.length ? [`^${LIBRARY}/(${notBelow.join('|')})/`] : []), `^${LIBRARY}/(.*/|)index\\.ts$`],
      },
    },
    {
      name: `${folder}-packages`,
      comment: `${folder}/ may import only these packages: ${[...packages, ...types.map((name) => `types of ${name}`)].join(', ') || 'none'}.`,
      severity: 'error',
      from: source(folder),
      to: { path: '(^|/)node_modules/', pathNot: anyOf([...packages, ...types]), dependencyTypesNot: ['core'] },
    },
    ...(types.length
      ? [
          {
            name: `${folder}-types-only`,
            comment: `${folder}/ may import only types of ${types.join(', ')}, nothing at run time.`,
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
            comment: `${folder}/ runs on any platform: it must not import Node modules.`,
            severity: 'error',
            from: source(folder),
            to: { dependencyTypes: ['core'] },
          },
        ]),
  ];
}

function subfolderRulesOf([folder, groups]) {
  return groups.flatMap((group, index) =>
    group.map((subfolder) => {
      const others = [...groups.slice(index).flat(), '[^/]+\\.ts$'].filter((name) => name !== subfolder);
      return {
        name: `${folder}-${subfolder}-imports-down`,
        comment: `${folder}/${subfolder}/ may import, at run time, only the subfolders that SUBFOLDERS lists before it.`,
        severity: 'error',
        from: source(`${folder}/${subfolder}`),
        to: {
          path: `^${LIBRARY}/${folder}/(${others.map((name) => (name.includes('$') ? name : `${name}/`)).join('|')})`,
          dependencyTypesNot: ['type-only'],
        },
      };
    }),
  );
}

/** @type {import('dependency-cruiser').IForbiddenRuleType[]} */
const forbidden = [
  {
    name: 'no-cycles',
    comment:
      'Modules must not import each other in a cycle, because modules in a cycle cannot be understood or tested one by one.',
    severity: 'error',
    from: {},
    to: { circular: true },
  },
  {
    name: 'resolvable',
    comment:
      'The import cannot be resolved: the file does not exist, or the package is not installed or does not export the path.',
    severity: 'error',
    from: {},
    to: { couldNotResolve: true },
  },
  {
    name: 'known-folders',
    comment: `The library has the folders ${Object.keys(FOLDERS).join(', ')}; add a new one, with its level, to .dependency-cruiser.mjs.`,
    severity: 'error',
    from: {},
    to: {
      path: `^${LIBRARY}/`,
      pathNot: [`^${LIBRARY}/(${Object.keys(FOLDERS).join('|')})/`, `^${LIBRARY}/index\\.ts$`],
    },
  },
  {
    name: 'library-alone',
    comment: 'The library must not import the demo, the tests, or the benchmarks, and must not import itself by name.',
    severity: 'error',
    from: { path: '^libs/' },
    to: { path: '^(src|bench)/|^test/(?!unit-support/)|^libs/[^/]+/dist/' },
  },
  {
    name: 'unit-support-in-specs',
    comment: 'test/unit-support/ replaces parts of the library in its specs. Nothing that is published may import it.',
    severity: 'error',
    from: source('[^/]+'),
    to: { path: '^test/' },
  },
  {
    name: 'by-package-name',
    comment:
      'The demo, test/, and bench/ must not import sources of the library. They import it by its package name, or import files of its build. Only test/unit-support/, for the specs of the library, imports sources.',
    severity: 'error',
    from: { path: '^(src|test|bench)/', pathNot: '^test/unit-support/' },
    to: { path: '^libs/[^/]+/src/' },
  },
  {
    name: 'demo-alone',
    comment: 'The demo must not import tests or benchmarks.',
    severity: 'error',
    from: { path: '^src/', pathNot: SPEC },
    to: { path: '^(test|bench)/' },
  },
  {
    name: 'loaded-when-needed',
    comment:
      'nest/ loads @nestjs/microservices and @nestjs/websockets only if the application uses them, so that HTTP applications load neither.',
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
    comment: 'Nothing may import a spec.',
    severity: 'error',
    from: {},
    to: { path: SPEC },
  },
  ...Object.entries(FOLDERS).flatMap(rulesOf),
  ...Object.entries(SUBFOLDERS).flatMap(subfolderRulesOf),
];

export default {
  forbidden,
  options: {
    // The imports of a page are resolved by its server; the output of ts-proto exists only during a test.
    exclude: { path: ['^src/.*/public/', '^test/consumers/ts-proto/'] },
    // Type imports count, because a folder that needs the types of a higher level is not below that level.
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.check.json' },
    doNotFollow: { path: ['(^|/)(node_modules|dist)/'] },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'types', 'node', 'default'],
      // Longer than the duration of a run. By default, files are looked up again after 4 s.
      cachedInputFileSystem: { cacheDuration: 600_000 },
    },
  },
};
