import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { cruise, type ICruiseResult } from 'dependency-cruiser';
import { ESLint, Linter } from 'eslint';
import ts from 'typescript';
import { beforeAll, describe, expect, it } from 'vitest';
import rules from '../.dependency-cruiser.mjs';
import { folderPicture } from '../docs/tools/folder-picture.mjs';
import { seams } from '../docs/tools/source.mjs';
import { protectionRules, timeRules } from '../eslint.config.mjs';

const ROOT = dirname(import.meta.dirname);
const LIBRARY = 'libs/resilient-grpc';

/** Returns all modules that `entry` loads at run time. Type-only imports are excluded. */
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

/**
 * Returns one readable line for each import that breaks a rule:
 * `policy-packages: a.ts -> rxjs (policy/ may import only these packages: valibot.)`.
 */
function linesOf({ summary }: ICruiseResult): string[] {
  return summary.violations.map(({ rule, from, to }) => {
    const why = rules.forbidden.find(({ name }) => name === rule.name)?.comment ?? '';
    return `${rule.name}: ${from} -> ${to} (${why})`;
  });
}

/** Returns the files below `folder`, except in node_modules, dist, and coverage, as paths from the root. */
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
    const { options, forbidden } = rules;
    const folders = [`${LIBRARY}/src`, 'src', 'test', 'bench'];
    const { output } = await cruise(folders, { ...options, baseDir: ROOT, validate: true, ruleSet: { forbidden } });
    imports = output as ICruiseResult;
  }, 300_000);

  it('finds only imports of lower levels, allowed packages, and existing modules', () => {
    expect(linesOf(imports)).toEqual([]);
  });

  it('finds the folder picture of docs/internals/architecture.md up to date (`node docs/render.mjs` redraws it)', async () => {
    const { text, rendered } = await folderPicture(imports.modules);
    // `expect(text).toBe(rendered)` would print an unreadable diff.
    expect(text === rendered, 'the picture is up to date').toBe(true);
  });
});

describe('operators entry', () => {
  let loaded: readonly string[];
  beforeAll(async () => {
    loaded = await loadedBy(`${LIBRARY}/src/operators/index.ts`);
  }, 300_000);

  it('loads no packages except RxJS and valibot, and no built-in Node module, in the operators entry', () => {
    const packages = new Set(
      loaded.flatMap((file) => /(?:^|\/)node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(file)?.[1] ?? []),
    );
    expect([...packages].sort()).toEqual(['rxjs', 'valibot']);
    expect(loaded.filter((file) => file.startsWith('node:'))).toEqual([]);
  });

  it('loads only the library folders that the operators depend on', () => {
    const folders = new Set(loaded.flatMap((file) => /^libs\/resilient-grpc\/src\/([^/]+)\//.exec(file)?.[1] ?? []));
    expect([...folders].sort()).toEqual(['call', 'errors', 'operators', 'policy', 'status', 'time']);
  });
});

describe('time and randomness', () => {
  // `eslint .` runs the rules. This test checks that they are configured and that no comment disables them.
  const eslint = new ESLint({ cwd: ROOT });
  it.each(Object.keys(timeRules.rules ?? {}))('enforces %s everywhere except in time/', async (rule) => {
    const settingOf = async (file: string): Promise<unknown> => {
      const config = (await eslint.calculateConfigForFile(`${LIBRARY}/src/${file}`)) as { rules: Linter.RulesRecord };
      return config.rules[rule];
    };
    const [severity, ...options] = timeRules.rules?.[rule] as [string, ...unknown[]];
    expect(severity).toBe('error');
    expect(await settingOf('client/create-client.ts')).toEqual([2, ...options]);
    expect(await settingOf('time/clock.ts')).not.toEqual([2, ...options]);

    // Matches a disable comment that names the rule or names no rule.
    const off = new RegExp(`\\beslint(?:-disable\\S*)?\\s(?:.*\\b${rule}\\b|\\s*(?:--|\\*/|$))`, 'm');
    const switchedOff = filesOf(`${LIBRARY}/src`).filter((file) => file.endsWith('.ts') && off.test(read(file)));
    expect(switchedOff).toEqual([]);
  });
});

it.each(['this.writer.reset(1)', 'socket.destroy()', 'cancel(REFUSED_STREAM)', 'history.holdUntil = 1'])(
  'forbids %s in a method that has no protection',
  (code) => {
    const { rules: forbidden = {} } = protectionRules;
    const countIn = (parameter: string) =>
      new Linter().verify(`class A { end(${parameter}) { ${code} } }`, { rules: forbidden });
    expect([countIn('details').length, countIn('protection').length]).toEqual([1, 0]);
  },
);

describe('private names of grpc-js and Node', () => {
  /** Names that the library's tables of private names contain but that are public elsewhere. */
  const PUBLIC = new Set(['call', 'close', 'onCallEnd', 'stream', 'streams']);
  // Members of `experimental` may be used anywhere: the probe checks those of the transport, and the compiler requires a check of the others.
  const paths = seams().flatMap(({ on, needs }) => (on === 'experimental' ? [] : needs));
  const names = new Set(
    paths.flatMap((path) =>
      path
        .replace('()', '')
        .split('.')
        .filter((name) => /^\w*[a-z]\w*$/.test(name) && !PUBLIC.has(name)),
    ),
  );

  /**
   * Returns the private names and module paths that `text` uses, in forms such as `channel.internalChannel`, `{ _handle }`, and
   * `Reflect.get(server, 'createHttp2Server')`.
   */
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

  it('finds private names of grpc-js and Node only in the quirks folders, testing/, and specs', () => {
    const outside = filesOf(`${LIBRARY}/src`)
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts') && !/\/(quirks|testing)\//.test(file))
      .flatMap((file) => privateNamesIn(read(file)).map((name) => `${file}: ${name}`));
    expect(names.size).toBeGreaterThan(5);
    expect(outside).toEqual([]);
  });
});

describe('types of options', () => {
  const REPORTS = `${LIBRARY}/api`;

  /** Returns the optional properties of options types, and of parameters, that do not accept `undefined`. */
  function exactPropertiesIn(code: string): string[] {
    const found: string[] = [];
    const visit = (node: ts.Node, owner: string, isOption: boolean): void => {
      if (ts.isPropertySignature(node) && node.questionToken !== undefined && isOption) {
        const type = node.type?.getText() ?? '';
        // An optional property of Nest's types, read as T['key'], includes undefined.
        if (!/\bundefined$|^unknown$|\['\w+'\]$/.test(type)) found.push(`${owner}.${node.name.getText()}: ${type}`);
      }
      const isDeclaration = ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
      const name = isDeclaration || ts.isFunctionDeclaration(node) ? (node.name?.text ?? owner) : owner;
      const isOptions =
        isOption || ts.isParameter(node) || (isDeclaration && /(Options|Settings|Defaults|Extras)$/.test(name));
      ts.forEachChild(node, (child) => {
        visit(child, name, isOptions);
      });
    };
    visit(ts.createSourceFile('report.ts', code, ts.ScriptTarget.Latest, true), '', false);
    return found;
  }

  it('accepts undefined in each optional property of the exported options types, for exactOptionalPropertyTypes', () => {
    const reports = readdirSync(join(ROOT, REPORTS)).map((file) => read(`${REPORTS}/${file}`));
    const code = reports.map((text) => /```ts\n([^]*)```/.exec(text)?.[1] ?? '');
    expect(code.filter((text) => text.includes('export')).length).toBe(reports.length);
    expect(code.flatMap((text) => exactPropertiesIn(text))).toEqual([]);
  });
});

describe('files', () => {
  it('uses the name index.ts only for public entries in package.json', () => {
    const { exports } = JSON.parse(read(`${LIBRARY}/package.json`)) as {
      exports: Record<string, string | { import: { default: string } }>;
    };
    const entries = Object.values(exports).flatMap((target) =>
      typeof target === 'string' ? [] : [target.import.default.replace(/^\.\/dist\/(.*)\.js$/, `${LIBRARY}/src/$1.ts`)],
    );
    const indexes = filesOf(`${LIBRARY}/src`).filter((file) => file.endsWith('/index.ts'));
    expect(indexes.sort()).toEqual(entries.sort());
  });

  it('uses kebab-case names for the files of the library', () => {
    const odd = filesOf(`${LIBRARY}/src`).filter(
      (file) => !/^[a-z0-9-]+(\.[a-z0-9-]+)*$/.test(file.split('/').at(-1) ?? ''),
    );
    expect(odd).toEqual([]);
  });

  it('keeps the source files of the library, except specs, under 700 lines', () => {
    const long = filesOf(`${LIBRARY}/src`)
      .filter((file) => file.endsWith('.ts') && !file.endsWith('.spec.ts'))
      .map((file) => ({ file, lines: read(file).split('\n').length }))
      .filter(({ lines }) => lines > 700);
    expect(long).toEqual([]);
  });

  it('finds a file for each pattern of the Vitest configs', () => {
    const all = ['libs', 'test', 'src'].flatMap((folder) => filesOf(folder));
    const unmatched = readdirSync(ROOT)
      .filter((file) => /^vitest\..*\.mts$|^vitest\.config\.mts$/.test(file))
      .flatMap((file) =>
        [...read(file).matchAll(/'((?:libs|test|src)\/[^']*\.ts)'/g)].flatMap(([, pattern = '']) =>
          expandBraces(pattern.replace('{spec,e2e-spec}', '*')),
        ),
      )
      .filter((pattern) => !all.some((file) => globExpression(pattern).test(file)));
    expect(unmatched).toEqual([]);
  });

  it('finds no absolute path of a development machine in any text file', () => {
    const folders = readdirSync(ROOT, { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && !['.git', 'node_modules', 'dist', 'coverage'].includes(entry.name))
      .flatMap(({ name }) => filesOf(name));
    const top = readdirSync(ROOT, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [entry.name] : []));
    // Assembled from parts so that this file does not match.
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

/** Expands 'a/{b,c}.ts' into 'a/b.ts' and 'a/c.ts', so that each alternative must match a file. */
function expandBraces(pattern: string): string[] {
  const found = /\{([^{}]*)\}/.exec(pattern);
  if (found === null) return [pattern];
  const [all, alternatives = ''] = found;
  return alternatives.split(',').flatMap((one) => expandBraces(pattern.replace(all, one)));
}

function globExpression(pattern: string): RegExp {
  const source = pattern
    .split('**/')
    .map((part) => part.replace(/[.+]/g, '\\$&').replaceAll('*', '[^/]*'))
    .join('(.*/)?');
  return new RegExp(`^${source}(/.*)?$`);
}
