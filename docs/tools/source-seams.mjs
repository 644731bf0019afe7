import ts from 'typescript';
import { sourceFile } from './source-file.mjs';

/** The source files that list the private names that the client and the server need. */
const TABLES = [
  ['client', 'channel/quirks/client-seams.ts', 'CLIENT_SEAMS'],
  ['server', 'server/quirks/server-seams.ts', 'SERVER_SEAMS'],
];

/**
 * Returns the private names of grpc-js and Node that the library needs, from its source.
 *
 * @returns {{ half: 'client' | 'server', on: string, needs: string[], lostWithout: string }[]}
 */
export function seams() {
  return TABLES.flatMap(([half, path, name]) => {
    const constants = new Map(
      sourceFile(path)
        .statements.filter((statement) => ts.isVariableStatement(statement))
        .flatMap(({ declarationList }) => declarationList.declarations)
        .map((declaration) => [declaration.name.getText(), declaration.initializer]),
    );
    return valueOf(constants.get(name), constants).map((seam) => ({ half, ...seam }));
  });
}

/** Evaluates an expression of literals and constants of the same file. */
function valueOf(node, constants) {
  if (ts.isStringLiteral(node)) return node.text;
  if (ts.isIdentifier(node)) return valueOf(constants.get(node.text), constants);
  if (ts.isPropertyAccessExpression(node)) return valueOf(node.expression, constants)[node.name.text];
  if (ts.isArrayLiteralExpression(node)) return node.elements.map((element) => valueOf(element, constants));
  if (ts.isObjectLiteralExpression(node)) {
    return Object.fromEntries(
      node.properties.map(({ name, initializer }) => [name.getText(), valueOf(initializer, constants)]),
    );
  }
  throw new Error(
    `docs/tools/source-seams.mjs: cannot evaluate ${node.getText()}; write a literal or a constant of the same file`,
  );
}
