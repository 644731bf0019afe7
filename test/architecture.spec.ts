import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import { ESLint, type Linter } from 'eslint';
import ts from 'typescript';
import tseslint from 'typescript-eslint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import rules from '../.dependency-cruiser.mjs';
import { folderPicture } from '../docs/tools/folder-picture.mjs';
import { seams } from '../docs/tools/source-seams.mjs';
import { oneDoor } from '../eslint.config.mjs';

const ROOT = dirname(import.meta.dirname);
const LIBRARY = 'libs/resilient-grpc';

/** What the files of `folders` import, and the rules that they break. */
async function importsOf(baseDir: string, folders: string[]): Promise<ICruiseResult> {
  const { options, forbidden } = rules;
  const { output } = await cruise(folders, { ...options, baseDir, validate: true, ruleSet: { forbidden } });
  return output as ICruiseResult;
}

/** Everything that `entry` loads at run time: imports of types alone are gone by then. */
async function loadedBy(entry: string): Promise<readonly string[]> {
  const { output } = await cruise([entry], {
    baseDir: ROOT,
    tsPreCompilationDeps: false,
    doNotFollow: { path: 'node_modules' },
    enhancedResolveOptions: { exportsFields: ['exports'], conditionNames: ['import', 'node', 'default'] },
    tsConfig: { fileName: 'tsconfig.check.json' },
  });
  return (output as ICruiseResult).modules.map(({ source }) => source);
}

/** Broken rules, one readable line each: `policy-packages: a.ts -> rxjs (policy/ may import valibot.)`. */
function linesOf({ summary }: ICruiseResult): string[] {
  return summary.violations.map(({ rule, from, to }) => {
    const why = rules.forbidden.find(({ name }) => name === rule.name)?.comment ?? '';
    return `${rule.name}: ${from} -> ${to} (${why})`;
  });
}

/** Files below `folder`, as paths from the root. */
function filesOf(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
    .filter((file) => !/(^|\/)(node_modules|dist|coverage)\//.test(file));
}

const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');

describe('imports', () => {
  let imports: ICruiseResult;
  beforeAll(async () => {
    imports = await importsOf(ROOT, [`${LIBRARY}/src`, 'src', 'test', 'bench']);
  }, 300_000);

  it('go down only, name the packages their folder may name, and exist', () => {
    expect(linesOf(imports)).toEqual([]);
  });

  it('of the library are those of the picture in docs/architecture.md; `node docs/render.mjs` draws it', async () => {
    const { text, rendered } = await folderPicture(imports.modules);
    // Not toBe: a drawing that differs says nothing to who reads it.
    expect(text === rendered, 'the picture is up to date').toBe(true);
  });
});

describe('the entry of the operators', () => {
  let loaded: readonly string[];
  beforeAll(async () => {
    loaded = await loadedBy(`${LIBRARY}/src/operators/index.ts`);
  }, 300_000);

  it('loads RxJS and nothing else: no Nest, no grpc-js', () => {
    const packages = new Set(
      loaded.flatMap((file) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []),
    );
    expect([...packages]).toEqual(['rxjs']);
    expect(loaded.filter((file) => file.startsWith('node:'))).toEqual([]);
  });

  it('loads errors, policies, the seam of streams and the ports of time, and no other folder of the library', () => {
    const folders = new Set(loaded.flatMap((file) => /^libs\/resilient-grpc\/src\/([^/]+)\//.exec(file)?.[1] ?? []));
    expect([...folders].sort()).toEqual(['call', 'errors', 'operators', 'policy', 'status', 'time']);
  });
});

describe('the rules of imports', () => {
  const SRC = `${LIBRARY}/src`;
  const BROKEN: readonly (readonly [what: string, file: string, text: string, rule: string])[] = [
    ['policy/ reaching up to channel/', `${SRC}/policy/up.ts`, `import '../channel/thing.js';`, 'policy-imports-down'],
    [
      'call/ taking a mere type from client/',
      `${SRC}/call/type.ts`,
      `import type { Thing } from '../client/thing.js';`,
      'call-imports-down',
    ],
    ['siblings of one level', `${SRC}/operators/sibling.ts`, `import '../channel/thing.js';`, 'operators-imports-down'],
    ['an index.ts as a short cut', `${SRC}/nest/index-import.ts`, `import '../index.js';`, 'nest-imports-down'],
    [
      'grpc-js at run time above the channel',
      `${SRC}/client/run-time.ts`,
      `import { Metadata } from '@grpc/grpc-js';`,
      'client-types-only',
    ],
    [
      'any type of grpc-js in policy/',
      `${SRC}/policy/grpc-js.ts`,
      `import type { Metadata } from '@grpc/grpc-js';`,
      'policy-packages',
    ],
    ['RxJS in policy/', `${SRC}/policy/rxjs.ts`, `import { of } from 'rxjs';`, 'policy-packages'],
    ['Nest below nest/', `${SRC}/client/nest.ts`, `import { Logger } from '@nestjs/common';`, 'client-packages'],
    [
      'microservices at the start of nest/',
      `${SRC}/nest/microservices.ts`,
      `import { RpcException } from '@nestjs/microservices';`,
      'loaded-when-needed',
    ],
    [
      'Terminus outside health/',
      `${SRC}/nest/terminus.ts`,
      `import { TerminusModule } from '@nestjs/terminus';`,
      'nest-packages',
    ],
    ['Node in operators/', `${SRC}/operators/node.ts`, `import { readFileSync } from 'node:fs';`, 'operators-no-node'],
    ['a folder without a level', `${SRC}/nest/utils.ts`, `import '../utils/thing.js';`, 'known-folders'],
    ['a package that is not there', `${SRC}/nest/package.ts`, `import 'left-pad';`, 'resolvable'],
    [
      'a cycle',
      `${SRC}/policy/cycle.ts`,
      `import type { Other } from './other-half.js';\nexport type One = Other;`,
      'no-cycles',
    ],
    [
      'the demo reaching into the sources of the library',
      'src/reach.ts',
      `import '../${SRC}/index.js';`,
      'by-package-name',
    ],
  ];
  const ALLOWED = [
    `import '../policy/thing.js';`,
    `import type { Metadata } from '@grpc/grpc-js';`,
    `import { of } from 'rxjs';`,
  ];

  let root: string;
  /** The broken rules of each file. One run covers all files, because a run takes a second. */
  const rulesBrokenIn = new Map<string, readonly string[]>();

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'architecture-'));
    const write = (file: string, text: string): void => {
      mkdirSync(dirname(join(root, file)), { recursive: true });
      writeFileSync(join(root, file), text);
    };
    symlinkSync(join(ROOT, 'node_modules'), join(root, 'node_modules'));
    for (const folder of [
      'status',
      'errors',
      'policy',
      'call',
      'operators',
      'channel',
      'client',
      'nest',
      'health',
      'utils',
    ])
      write(`${SRC}/${folder}/thing.ts`, `export const ${folder} = 1;\nexport type Thing = number;\n`);
    write(`${SRC}/index.ts`, 'export const all = 1;\n');
    write(`${SRC}/policy/other-half.ts`, `import type { One } from './cycle.js';\nexport type Other = One | 1;\n`);
    write(`${SRC}/client/allowed.ts`, `${ALLOWED.join('\n')}\nexport const probe = 1;\n`);
    for (const [, file, text] of BROKEN) write(file, `${text}\nexport const probe = 1;\n`);
    const { summary } = await importsOf(root, [SRC, 'src']);
    for (const { from, rule } of summary.violations)
      rulesBrokenIn.set(from, [...(rulesBrokenIn.get(from) ?? []), rule.name]);
  }, 300_000);
  afterAll(() => rmSync(root, { recursive: true }));

  it.each(BROKEN)('refuse %s', (_what, file, _text, rule) => {
    expect(rulesBrokenIn.get(file)).toEqual([rule]);
  });

  it('allow what the levels allow', () => {
    expect([...rulesBrokenIn.keys()].sort()).toEqual(BROKEN.map(([, file]) => file).sort());
  });
});

describe('time and chance', () => {
  const linter = new ESLint({
    cwd: ROOT,
    overrideConfigFile: true,
    overrideConfig: [
      { files: ['**/*.ts'], languageOptions: { parser: tseslint.parser } },
      { ...oneDoor, linterOptions: { reportUnusedDisableDirectives: 'off' } },
    ],
    // Comments that switch a rule off belong to rules that are not loaded here; and this one has no exceptions.
    allowInlineConfig: false,
  });
  const lines = (results: ESLint.LintResult[]): string[] =>
    results.flatMap(({ filePath, messages }) =>
      messages.map(({ line, message }) => `${filePath.slice(ROOT.length + 1)}:${line} ${message}`),
    );

  // `eslint .` runs the rules; here is that it has them, and that nobody switches them off.
  const eslint = new ESLint({ cwd: ROOT });
  it.each(Object.keys(oneDoor.rules ?? {}))('enter by time/ alone: %s has no exception', async (rule) => {
    const settingOf = async (file: string): Promise<unknown> => {
      const config = (await eslint.calculateConfigForFile(`${LIBRARY}/src/${file}`)) as { rules: Linter.RulesRecord };
      return config.rules[rule];
    };
    const [severity, ...options] = oneDoor.rules?.[rule] as [string, ...unknown[]];
    expect(severity).toBe('error');
    expect(await settingOf('client/create-client.ts')).toEqual([2, ...options]);
    expect(await settingOf('time/clock.ts')).not.toEqual([2, ...options]);

    // A comment that names the rule, or one that names none.
    const off = new RegExp(`\\beslint(?:-disable\\S*)?\\s(?:.*\\b${rule}\\b|\\s*(?:--|\\*/|$))`, 'm');
    const switchedOff = filesOf(`${LIBRARY}/src`).filter((file) => file.endsWith('.ts') && off.test(read(file)));
    expect(switchedOff).toEqual([]);
  });

  it.each([
    'Date.now()',
    'new Date()',
    'Math.random()',
    'performance.now()',
    'setTimeout(() => {}, 1)',
    'setInterval(() => {}, 1)',
    'globalThis.setTimeout(() => {}, 1)',
    'process.hrtime.bigint()',
    'AbortSignal.timeout(5)',
  ])('do not enter by %s', async (code) => {
    const found = lines(
      await linter.lintText(`export const probe = ${code};`, { filePath: `${LIBRARY}/src/client/probe.ts` }),
    );
    expect(found).toHaveLength(1);
  });

  it.each(['new Date(clock.epoch())', 'setImmediate(run)', 'socket.setTimeout(5)', 'clock.now()'])(
    'leave %s alone',
    async (code) => {
      const found = lines(
        await linter.lintText(`export const probe = ${code};`, { filePath: `${LIBRARY}/src/client/probe.ts` }),
      );
      expect(found).toEqual([]);
    },
  );
});

describe('private names of grpc-js and Node', () => {
  /** Words of the tables that are public names, too. */
  const COMMON = [
    'activeCalls',
    'call',
    'child',
    'close',
    'connect',
    'destroy',
    'host',
    'options',
    'resetBackoff',
    'session',
  ];
  const PUBLIC = new Set([...COMMON, 'stream', 'streams', 'transport', 'waitForReady']);
  // What is below `experimental` is typed as perhaps missing where the library imports it from.
  const paths = seams().flatMap(({ on, needs }) => needs.filter((path) => on !== 'experimental' || path.includes('.')));
  const names = new Set(
    paths.flatMap((path) =>
      path
        .replace('()', '')
        .split('.')
        .filter(
          (name) =>
            /^\w*[a-z]\w*$/.test(name) && !PUBLIC.has(name) && !/^(prototype|BaseSubchannelWrapper)$/.test(name),
        ),
    ),
  );

  /** Private names that `text` reads: 'transport.session', `{ _handle }`, `Reflect.get(server, 'createHttp2Server')`. */
  function privateNamesIn(text: string): string[] {
    const found: string[] = [];
    const note = (name: ts.Node | undefined) => {
      if (name === undefined || !(ts.isIdentifier(name) || ts.isStringLiteral(name))) return;
      if (names.has(name.text) || /^_[a-z]/.test(name.text)) found.push(name.text);
    };
    const visit = (node: ts.Node): void => {
      if (ts.isPropertyAccessExpression(node) && node.expression.kind !== ts.SyntaxKind.ThisKeyword) note(node.name);
      if (ts.isBindingElement(node)) note(node.propertyName ?? node.name);
      if (ts.isPropertySignature(node) || ts.isMethodSignature(node)) note(node.name);
      if (ts.isStringLiteral(node) && ts.isCallExpression(node.parent)) note(node);
      const module = ts.isImportDeclaration(node) ? (node.moduleSpecifier as ts.StringLiteral).text : '';
      if (module.startsWith('@grpc/grpc-js/')) found.push(module);
      if (module === '@grpc/grpc-js') {
        const { phaseModifier, namedBindings } = (node as ts.ImportDeclaration).importClause ?? {};
        const elements = namedBindings !== undefined && ts.isNamedImports(namedBindings) ? namedBindings.elements : [];
        const values = elements.filter((one) => phaseModifier !== ts.SyntaxKind.TypeKeyword && !one.isTypeOnly);
        if (values.some(({ name, propertyName }) => (propertyName ?? name).getText() === 'experimental'))
          found.push('experimental');
      }
      ts.forEachChild(node, visit);
    };
    visit(ts.createSourceFile('probe.ts', text, ts.ScriptTarget.Latest, true));
    return found;
  }

  it('are read in the quirks folders only', () => {
    const outside = filesOf(`${LIBRARY}/src`)
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts') && !/\/(quirks|testing)\//.test(file))
      .flatMap((file) => privateNamesIn(read(file)).map((name) => `${file}: ${name}`));
    expect(names.size).toBeGreaterThan(15);
    expect(outside).toEqual([]);
  });

  it.each([
    'channel.internalChannel',
    'const { _handle: handle } = socket;',
    `Reflect.get(server, 'createHttp2Server')`,
    'interface Call { readonly http2Stream?: object }',
    'subchannel.getRealSubchannel()',
    `import { experimental } from '@grpc/grpc-js';`,
    `import { Http2SubchannelCall } from '@grpc/grpc-js/build/src/subchannel-call.js';`,
  ])('are found in %s', (code) => {
    expect(privateNamesIn(code)).toHaveLength(1);
  });

  it.each([
    `import { Channel, type experimental } from '@grpc/grpc-js';`,
    `import type { experimental } from '@grpc/grpc-js';`,
    'this.session.close()',
    'client.activeCalls()',
  ])('are not found in %s', (code) => {
    expect(privateNamesIn(code)).toEqual([]);
  });
});

describe('files', () => {
  it('are called index.ts where package.json opens a public entry, and nowhere else', () => {
    const { exports } = JSON.parse(read(`${LIBRARY}/package.json`)) as {
      exports: Record<string, string | { default: string }>;
    };
    const entries = Object.values(exports).flatMap((target) =>
      typeof target === 'string' ? [] : [target.default.replace(/^\.\/dist\/(.*)\.js$/, `${LIBRARY}/src/$1.ts`)],
    );
    const indexes = filesOf(`${LIBRARY}/src`).filter((file) => file.endsWith('/index.ts'));
    expect(indexes.sort()).toEqual(entries.sort());
  });

  it('have names in kebab-case', () => {
    const odd = filesOf(`${LIBRARY}/src`).filter(
      (file) => !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(file.split('/').at(-1) ?? ''),
    );
    expect(odd).toEqual([]);
  });

  it('of the library stay under 400 lines', () => {
    const long = filesOf(`${LIBRARY}/src`)
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'))
      .map((file) => ({ file, lines: read(file).split('\n').length }))
      .filter(({ lines }) => lines > 400);
    expect(long).toEqual([]);
  });

  it('name no path of the machine they were written on', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !['.git', 'node_modules', 'dist', 'coverage'].includes(entry.name))
      .flatMap(({ name }) => filesOf(name));
    const top = readdirSync(ROOT, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []));
    // Put together, or this file would find itself.
    const path = new RegExp(`(?<![\\w.])/(${['work', 'root', 'home', 'Users'].join('|')})/[\\w.-]+`);
    const named = [...folders, ...top]
      .filter((file) => /\.(ts|mts|mjs|cjs|js|json|md|proto|ya?ml|html|css)$/.test(file) || file.startsWith('.ci/'))
      .flatMap((file) =>
        read(file)
          .split('\n')
          .flatMap((line, i) => (path.test(line) ? [`${file}:${i + 1} ${line.trim()}`] : [])),
      );
    expect(named).toEqual([]);
  });
});
