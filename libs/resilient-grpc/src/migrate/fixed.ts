import { Node, SyntaxKind } from 'ts-morph';
import { constantOf, keysOf, unwrapped } from './constants.js';

/** Modules that export the functions in `PATH_FUNCTIONS`. The result of such a function counts as fixed if its arguments are fixed. */
const PATH_MODULES: ReadonlySet<string> = new Set(['path', 'node:path', 'url', 'node:url']);
const PATH_FUNCTIONS: ReadonlySet<string> = new Set(['join', 'resolve', 'dirname', 'fileURLToPath']);
/** Values that Node or JavaScript defines, such as the `String` in `{ longs: String }`. */
const GLOBALS: ReadonlySet<string> = new Set([
  '__dirname',
  '__filename',
  'undefined',
  'String',
  'Number',
  'Array',
  'Object',
]);

/**
 * True if an expression has the same value when the file is loaded as when a factory runs later. For example, an environment variable is
 * not fixed, because it may be set in between.
 */
export function isFixed(node: Node): boolean {
  const plain = unwrapped(node);
  if (Node.isIdentifier(plain)) return constantOf(plain) !== undefined || isGlobal(plain);
  if (Node.isPropertyAccessExpression(plain)) {
    const owner = plain.getExpression();
    // A namespace import, such as `generated` in `generated.ORDERS_PACKAGE`, has no value of its own, so its member is checked.
    return Node.isMetaProperty(owner) || keysOf(owner)?.get(plain.getName()) !== undefined || isConstantMember(plain);
  }
  if (Node.isTemplateExpression(plain)) return plain.getTemplateSpans().every((span) => isFixed(span.getExpression()));
  if (Node.isArrayLiteralExpression(plain)) return plain.getElements().every(isFixed);
  if (Node.isObjectLiteralExpression(plain)) return plain.getProperties().every(isFixedProperty);
  if (Node.isBinaryExpression(plain)) {
    const isSum = plain.getOperatorToken().getKind() === SyntaxKind.PlusToken;
    return isSum && isFixed(plain.getLeft()) && isFixed(plain.getRight());
  }
  if (Node.isCallExpression(plain)) return isPathFunction(plain.getExpression()) && plain.getArguments().every(isFixed);
  if (Node.isNewExpression(plain))
    return plain.getExpression().getText() === 'URL' && plain.getArguments().every(isFixed);
  return Node.isLiteralExpression(plain) || Node.isTrueLiteral(plain) || Node.isFalseLiteral(plain);
}

/** True if a property of an object literal has a fixed value. */
export function isFixedProperty(property: Node): boolean {
  if (Node.isShorthandPropertyAssignment(property)) return isFixed(property.getNameNode());
  if (Node.isSpreadAssignment(property)) return isFixed(property.getExpression());
  if (!Node.isPropertyAssignment(property) || Node.isComputedPropertyName(property.getNameNode())) return false;
  const value = property.getInitializer();
  return value !== undefined && isFixed(value);
}

function isConstantMember(access: Node): boolean {
  const name = Node.isPropertyAccessExpression(access) ? access.getNameNode() : access;
  return constantOf(name) !== undefined || (name.getSymbol()?.getDeclarations() ?? []).some(Node.isEnumMember);
}

function isGlobal(identifier: Node): boolean {
  const declarations = identifier.getSymbol()?.getDeclarations() ?? [];
  return GLOBALS.has(identifier.getText()) && declarations.every((one) => one.getSourceFile().isDeclarationFile());
}

/** True for `join` and `path.join`, for example, if they are imported from Node. */
function isPathFunction(callee: Node): boolean {
  const owner = Node.isPropertyAccessExpression(callee) ? callee.getExpression() : callee;
  const [declaration] = owner.getSymbol()?.getDeclarations() ?? [];
  const module = declaration?.getFirstAncestor(Node.isImportDeclaration)?.getModuleSpecifierValue();
  if (module === undefined || !PATH_MODULES.has(module)) return false;
  if (Node.isPropertyAccessExpression(callee)) return PATH_FUNCTIONS.has(callee.getName());
  return Node.isImportSpecifier(declaration) && PATH_FUNCTIONS.has(declaration.getName());
}
