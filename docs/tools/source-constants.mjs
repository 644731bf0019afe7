import ts from 'typescript';
import { sourceFile } from './source-file.mjs';

/**
 * Returns the value of a constant in the source: a number, a string, or an object of these.
 *
 * @param {string} path relative to the library's sources
 * @param {string} name for example 'GROWTH'
 */
export function constant(path, name) {
  const declarations = sourceFile(path)
    .statements.filter((statement) => ts.isVariableStatement(statement))
    .flatMap(({ declarationList }) => declarationList.declarations);
  const initializer = declarations.find((declaration) => declaration.name.getText() === name)?.initializer;
  const found = initializer && valueOf(initializer);
  if (found === undefined)
    throw new Error(
      `${path}: expected a constant ${name} with a literal value, found none; correct the path or the name in docs/tools`,
    );
  return found;
}

/** Evaluates an expression of literals; `undefined` for other expressions. */
function valueOf(node) {
  if (ts.isNumericLiteral(node)) return Number(node.text);
  if (ts.isStringLiteral(node)) return node.text;
  if (ts.isAsExpression(node) || ts.isSatisfiesExpression(node) || ts.isParenthesizedExpression(node))
    return valueOf(node.expression);
  if (ts.isCallExpression(node) && node.expression.getText() === 'Object.freeze') return valueOf(node.arguments[0]);
  if (ts.isBinaryExpression(node) && node.operatorToken.kind === ts.SyntaxKind.AsteriskToken)
    return valueOf(node.left) * valueOf(node.right);
  if (!ts.isObjectLiteralExpression(node)) return undefined;
  const properties = node.properties.filter((property) => ts.isPropertyAssignment(property));
  return Object.fromEntries(
    properties.map(({ name, initializer }) => [
      ts.isStringLiteral(name) ? name.text : name.getText(),
      valueOf(initializer),
    ]),
  );
}
