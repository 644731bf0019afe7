import { ts } from 'ts-morph';
import { afterComment, applyEdits, type TextEdit } from './text-edits.js';

const LIBRARY = 'nestjs-resilient-grpc';

/**
 * Returns `text` with corrected imports. Adds `ResilientGrpcModule` if `text` uses that name. Removes each name imported from the module
 * `from` if `before` used the name and `text` does not.
 */
export function withImports(before: string, text: string, from: string): string {
  const file = parsed(text);
  const imports = file.statements.filter(ts.isImportDeclaration);
  const used = usedNames(file);
  const unused = new Set([...usedNames(parsed(before))].filter((name) => !used.has(name)));
  const missing =
    used.has('ResilientGrpcModule') && !imports.some((one) => namesOf(one).includes('ResilientGrpcModule'));
  const edits: TextEdit[] = [];
  let position: number | undefined;
  const quote = /import[^;'"]*(["'])/.exec(text)?.[1] ?? "'";
  const newline = text.includes('\r\n') ? '\r\n' : '\n';
  const last = imports.at(-1);
  const end = last === undefined || text[last.getEnd() - 1] === ';' ? ';' : '';
  const line = `import { ResilientGrpcModule } from ${quote}${LIBRARY}${quote}${end}`;
  const own = imports.find(
    (one) => moduleOf(one) === LIBRARY && !/^import\s+type\b/.test(one.getText()) && bindingsOf(one),
  );
  const bindings = own === undefined ? undefined : bindingsOf(own);
  const lastName = bindings?.elements.at(-1);
  if (missing && lastName !== undefined)
    edits.push({ start: lastName.getEnd(), end: lastName.getEnd(), text: ', ResilientGrpcModule' });
  const addsLine = missing && lastName === undefined;
  for (const one of imports) {
    const elements = bindingsOf(one)?.elements;
    if (moduleOf(one) !== from || elements === undefined) continue;
    const kept = elements.filter(({ name }) => !unused.has(name.text));
    const afterLine = afterComment(text, one.getEnd());
    position ??= afterLine;
    if (kept.length === elements.length) continue;
    if (kept.length === 0 && one.importClause?.name === undefined) {
      if (addsLine && position === afterLine) {
        edits.push({ start: one.getStart(), end: one.getEnd(), text: line });
        position = -1;
      } else edits.push({ start: one.getStart(), end: afterLine + newline.length, text: '' });
      continue;
    }
    const [first] = elements;
    const final = elements.at(-1);
    if (first === undefined || final === undefined) continue;
    const between = text.slice(first.getStart(), final.getEnd());
    const separator = between.includes('\n') ? (/\r?\n[ \t]*/.exec(between)?.[0] ?? ' ') : ' ';
    const names = kept.map((element) => element.getText()).join(`,${separator}`);
    edits.push({ start: first.getStart(), end: final.getEnd(), text: names });
  }
  const at = position ?? (last === undefined ? 0 : afterComment(text, last.getEnd()));
  if (addsLine && at >= 0) edits.push({ start: at, end: at, text: at === 0 ? line + newline : newline + line });
  return applyEdits(text, edits);
}

function parsed(text: string) {
  return ts.createSourceFile('file.ts', text, ts.ScriptTarget.Latest, true);
}

const moduleOf = (declaration: ts.ImportDeclaration) =>
  ts.isStringLiteral(declaration.moduleSpecifier) ? declaration.moduleSpecifier.text : undefined;

function bindingsOf({ importClause }: ts.ImportDeclaration): ts.NamedImports | undefined {
  const bindings = importClause?.namedBindings;
  return bindings !== undefined && ts.isNamedImports(bindings) ? bindings : undefined;
}

const namesOf = (declaration: ts.ImportDeclaration) =>
  (bindingsOf(declaration)?.elements ?? []).map(({ name }) => name.text);

/** Returns the names that a file uses outside its imports, except property names. */
function usedNames(file: ts.SourceFile): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) return;
    if (ts.isIdentifier(node)) {
      const { parent } = node;
      const isProperty =
        (ts.isPropertyAccessExpression(parent) || ts.isPropertyAssignment(parent)) && parent.name === node;
      if (!isProperty) names.add(node.text);
    }
    ts.forEachChild(node, visit);
  };
  visit(file);
  return names;
}
