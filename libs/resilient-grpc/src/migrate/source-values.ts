import { Node, VariableDeclarationKind, type ObjectLiteralExpression, type Type } from 'ts-morph';

/** Value of `Transport.GRPC`. */
const GRPC = 4;

/** Returns the name under which Nest exports what an expression such as `ClientsModule` or `nest.ClientsModule` refers to. */
export function nestNameOf(expression: Node): string | undefined {
  const name = Node.isPropertyAccessExpression(expression) ? expression.getNameNode() : expression;
  const symbol = name.getSymbol()?.getAliasedSymbol() ?? name.getSymbol();
  const isNest = symbol
    ?.getDeclarations()
    .some((one) => one.getSourceFile().getFilePath().includes('/@nestjs/microservices/'));
  return isNest === true ? symbol?.getName() : undefined;
}

/** Returns an expression without parentheses and type assertions; for a `const`, even an imported one, its value. */
export function constantValue(expression: Node): Node {
  if (
    Node.isParenthesizedExpression(expression) ||
    Node.isAsExpression(expression) ||
    Node.isSatisfiesExpression(expression) ||
    Node.isNonNullExpression(expression)
  )
    return constantValue(expression.getExpression());
  if (Node.isPropertyAccessExpression(expression)) {
    const value = valueOf(expression.getExpression(), expression.getName());
    return value === undefined ? expression : constantValue(value);
  }
  const declaration = Node.isIdentifier(expression) ? declarationOf(expression) : undefined;
  const isConstant =
    Node.isVariableDeclaration(declaration) &&
    declaration.getVariableStatement()?.getDeclarationKind() === VariableDeclarationKind.Const;
  const value = isConstant ? declaration.getInitializer() : undefined;
  return value === undefined ? expression : constantValue(value);
}

/** Returns the declaration of the value that an identifier refers to, in the file of the declaration. */
export function declarationOf(identifier: Node): Node | undefined {
  const parent = identifier.getParent();
  const symbol = Node.isShorthandPropertyAssignment(parent) ? parent.getValueSymbol() : identifier.getSymbol();
  return (symbol?.getAliasedSymbol() ?? symbol)?.getDeclarations()[0];
}

/** Returns the value of a property of an object; `undefined` if it is absent, or known only at run time. */
export function valueOf(object: Node, name: string): Node | undefined {
  const literal = constantValue(object);
  if (!Node.isObjectLiteralExpression(literal)) return undefined;
  for (const property of literal.getProperties().toReversed()) {
    if (Node.isSpreadAssignment(property)) {
      const spread = constantValue(property.getExpression());
      const value = valueOf(spread, name);
      if (value !== undefined || !Node.isObjectLiteralExpression(spread)) return value;
    } else if (property.getName().replace(/^(['"`])(.*)\1$/, '$2') === name) return propertyValue(property);
  }
  return undefined;
}

/** Returns the value in `key: value` or in the shorthand `key`; `undefined` for a method or an accessor. */
export function propertyValue(
  property: ReturnType<ObjectLiteralExpression['getProperties']>[number],
): Node | undefined {
  if (Node.isShorthandPropertyAssignment(property)) return property.getNameNode();
  return Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
}

/** Returns the transport of the options of a client. */
export function transportOf(client: Node): 'grpc' | 'other' | 'unknown' {
  const type = client.getType();
  const property = type.getProperty('transport');
  const found = valueOf(client, 'transport')?.getType() ?? property?.getTypeAtLocation(client).getNonNullableType();
  if (found?.isLiteral() === true && !found.isUnion()) return found.getLiteralValue() === GRPC ? 'grpc' : 'other';
  // Nest uses TCP if no transport is given. A class of the application may extend Nest's gRPC client.
  const isTcp = (one: Type) => one.isObject() && !one.getProperty('transport') && !one.getProperty('customClass');
  return (type.isUnion() ? type.getUnionTypes() : [type]).every(isTcp) ? 'other' : 'unknown';
}
