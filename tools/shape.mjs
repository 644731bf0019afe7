// node tools/shape.mjs [--list|--check]: counts large classes, files, and functions of the library. --list names them; --check compares with
// tools/limits.json.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { checkLimits } from './limits.mjs';

const SOURCES = fileURLToPath(new URL('../libs/resilient-grpc/src/', import.meta.url));
const MAX_MEMBERS = 45;
const MAX_FILE_LINES = 450;
const MAX_FUNCTION_LINES = 60;

const files = readdirSync(SOURCES, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.ts') && !path.endsWith('.spec.ts'))
  .sort();
const sources = files.map((path) =>
  ts.createSourceFile(path, readFileSync(join(SOURCES, path), 'utf8'), ts.ScriptTarget.Latest, true),
);

/** @typedef {{ readonly name: string, readonly size: number }} Sized */

/** @type {Sized[]} */
const classes = [];
/** @type {Sized[]} */
const functions = [];
for (const source of sources) visit(source, source);
const lengths = sources.map((source) => ({ name: source.fileName, size: codeLines(source.text) }));

const above = (/** @type {readonly Sized[]} */ all, /** @type {number} */ max) =>
  all.filter(({ size }) => size > max).sort((a, b) => b.size - a.size);
const found = {
  [`classes of more than ${String(MAX_MEMBERS)} members`]: above(classes, MAX_MEMBERS),
  [`files above ${String(MAX_FILE_LINES)} lines`]: above(lengths, MAX_FILE_LINES),
  [`functions above ${String(MAX_FUNCTION_LINES)} lines`]: above(functions, MAX_FUNCTION_LINES),
};
const figures = {
  ...Object.fromEntries(Object.entries(found).map(([name, all]) => [name, all.length])),
  'members of the largest class': Math.max(...classes.map(({ size }) => size)),
};
if (process.argv.includes('--check')) checkLimits('shape', figures);
else
  for (const [name, count] of Object.entries(figures)) {
    console.log(`${name}: ${String(count)}`);
    if (process.argv.includes('--list'))
      for (const one of found[name] ?? []) console.log(`  ${one.name}: ${String(one.size)}`);
  }

/**
 * @param {ts.Node} node
 * @param {ts.SourceFile} source
 */
function visit(node, source) {
  const name = `${source.fileName} ${/** @type {any} */ (node).name?.getText(source) ?? ''}`;
  if (ts.isClassLike(node)) classes.push({ name, size: membersOf(node) });
  if (ts.isFunctionLike(node) && 'body' in node && node.body !== undefined)
    functions.push({ name, size: codeLines(node.getText(source)) });
  ts.forEachChild(node, (child) => visit(child, source));
}

/** Counts fields, parameter properties, methods, and accessors. @param {ts.ClassLikeDeclaration} declared */
function membersOf({ members }) {
  const names = new Set();
  for (const member of members) {
    if (ts.isConstructorDeclaration(member)) {
      for (const parameter of member.parameters)
        if (ts.isParameterPropertyDeclaration(parameter, member)) names.add(parameter.name.getText());
    } else if (member.name !== undefined) names.add(member.name.getText());
  }
  return names.size;
}

/** Counts lines that are neither blank nor only comment. @param {string} text */
function codeLines(text) {
  const scanner = ts.createScanner(ts.ScriptTarget.Latest, true, ts.LanguageVariant.Standard, text);
  const starts = text.split('\n').reduce((all, line) => [...all, all[all.length - 1] + line.length + 1], [0]);
  const lines = new Set();
  let line = 0;
  for (let token = scanner.scan(); token !== ts.SyntaxKind.EndOfFileToken; token = scanner.scan()) {
    while (starts[line + 1] <= scanner.getTokenStart()) line += 1;
    for (let at = line; starts[at] < scanner.getTokenEnd(); at += 1) lines.add(at);
  }
  return lines.size;
}
