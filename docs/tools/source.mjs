import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import ts from 'typescript';

/** Root of the workspace. */
export const ROOT = dirname(dirname(import.meta.dirname));
const LIBRARY = join(ROOT, 'libs/resilient-grpc/src');

/**
 * Parses a source file of the library. Does not require a build.
 *
 * @param {string} path relative to the library's sources
 */
export function sourceFile(path) {
  return ts.createSourceFile(path, readFileSync(join(LIBRARY, path), 'utf8'), ts.ScriptTarget.Latest, true);
}

/**
 * Returns the value of a constant in the source: a literal, or an object or array of these.
 *
 * @param {string} path relative to the library's sources
 * @param {string} name for example 'GROWTH'
 */
export function constant(path, name) {
  const found = valueOf(ts.factory.createIdentifier(name), sourceFile(path));
  if (found === undefined)
    throw new Error(
      `${path}: expected a constant ${name} with a literal value, found none; correct the path or the name`,
    );
  return found;
}

/** Evaluates an expression of literals and constants of `file`; `undefined` for other expressions. */
function valueOf(node, file) {
  if (node === undefined) return undefined;
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isStringLiteral(node)) return node.text;
  if (ts.isIdentifier(node)) {
    const declarations = file.statements.flatMap(({ declarationList }) => declarationList?.declarations ?? []);
    return valueOf(declarations.find(({ name }) => name.text === node.text)?.initializer, file);
  }
  if (ts.isPropertyAccessExpression(node)) return valueOf(node.expression, file)?.[node.name.text];
  if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node) || ts.isParenthesizedExpression(node))
    return valueOf(node.expression, file);
  if (ts.isCallExpression(node) && node.expression.getText() === 'Object.freeze')
    return valueOf(node.arguments[0], file);
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.AsteriskToken)
    return valueOf(node.left, file) * valueOf(node.right, file);
  if (ts.isArrayLiteralExpression(node)) return node.elements.map((element) => valueOf(element, file));
  if (!ts.isObjectLiteralExpression(node)) return undefined;
  const properties = node.properties.filter((property) => ts.isPropertyAssignment(property));
  return Object.fromEntries(properties.map(({ name, initializer }) => [name.text, valueOf(initializer, file)]));
}

/**
 * Returns the private names of grpc-js and Node that the library needs, from its source.
 *
 * @returns {{ half: 'client' | 'server', on: string, needs: string[], lostWithout: string }[]}
 */
export function seams() {
  return ['client', 'server'].flatMap((half) => {
    const file = { client: 'client-seams', server: 'unbound-server' }[half];
    const list = constant(`channel/quirks/${file}.ts`, `${half.toUpperCase()}_SEAMS`);
    return list.map((seam) => ({ half, ...seam }));
  });
}

/** The constants that contain the defaults of groups of options. */
const DEFAULTS = {
  DrainOptions: 'DEFAULT_DRAIN',
  GrpcClientDefaults: 'DEFAULT_CLIENT_SETTINGS',
  MethodOptions: 'DEFAULT_CLIENT_SETTINGS',
  ServingCheckOptions: 'DEFAULT_SERVING_CHECK',
  ResilientGrpcServerOptions: 'DEFAULT_SERVER_OPTIONS',
  ServerMethodOptions: 'DEFAULT_SERVER_OPTIONS',
};

/**
 * Returns the options of a group in source order, each with its doc comment.
 *
 * @param {string} group name of the interface or type
 * @param {{ allDocumented?: boolean }} [rules] `allDocumented: false` accepts properties without a doc comment
 * @returns {{ name: string, type: string, meaning: string, defaultValue: string | undefined, keys: object[] }[]}
 */
export function optionsOf(group, { allDocumented = true } = {}) {
  const declares = new RegExp(`^(export )?(interface|type) ${group}\\b`, 'm');
  const files = readdirSync(LIBRARY, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
  const path = files.find((file) => declares.test(readFileSync(join(LIBRARY, file), 'utf8')));
  if (path === undefined) throw new Error(`expected an interface or type ${group}, found none; correct the name`);
  const declaration = sourceFile(path).statements.find(({ name }) => name?.text === group);
  const defaults = DEFAULTS[group] === undefined ? {} : constant(path, DEFAULTS[group]);
  return propertiesOf(declaration).map((property) => optionOf(property, group, defaults, allDocumented));
}

/**
 * Returns the properties that a type declares directly or in a member of a union or intersection, but not those of nested objects. Skips
 * keys that a member forbids (`undefined`).
 */
function propertiesOf(node) {
  const own = [];
  const visit = (child) => {
    if (!ts.isPropertySignature(child)) ts.forEachChild(child, visit);
    else if (child.type?.kind !== ts.SyntaxKind.UndefinedKeyword) own.push(child);
  };
  ts.forEachChild(node, visit);
  return own;
}

function optionOf(property, group, defaults, allDocumented) {
  const name = property.name.getText();
  const docs = property.jsDoc?.at(-1);
  const meaning = flat(ts.getTextOfJSDocComment(docs?.comment) ?? '');
  if (meaning === '' && allDocumented) throw new Error(`${group}.${name} has no doc comment`);
  const tag = docs?.tags?.find(({ tagName }) => tagName.text === 'defaultValue');
  const documented = tag && flat(ts.getTextOfJSDocComment(tag.comment) ?? '');
  const value = defaults[name];
  const literal = typeof value === 'string' ? `'${value}'` : value?.toString();
  // After a semicolon, the tag may state a different default for a special case.
  if (literal !== undefined && literal !== documented?.split(';')[0])
    throw new Error(`${group}.${name}: @defaultValue is ${documented}, but the constant is ${literal}`);
  const type = flat(property.type.getText().replace(/\/\*\*.*?\*\//gs, ''))
    .replaceAll(/readonly | \| undefined(?=;)/g, '')
    .replace(/^\| | \| undefined$/g, '');
  const isNested = property.type.kind === ts.SyntaxKind.UnionType;
  const isLiteral = !allDocumented && ts.isTypeLiteralNode(property.type);
  const keys = isNested || isLiteral ? propertiesOf(property.type).filter(({ jsDoc }) => jsDoc || isLiteral) : [];
  return {
    name,
    type: keys.length > 0 ? 'object' : type.replace(/^\(\((.*)\) => void\)$/, '($1) => void'),
    meaning,
    defaultValue: documented,
    keys: keys.map((key) => optionOf(key, `${group}.${name}`, {}, allDocumented)),
  };
}

function flat(text) {
  return text.replace(/\s+/g, ' ').trim();
}
