import {
  Node,
  VariableDeclarationKind,
  type ObjectLiteralExpression,
  type Type,
  type VariableDeclaration,
} from 'ts-morph';

/** Value of `Transport.GRPC`. */
const GRPC = 4;

/** An object literal, and the constants through which it was reached. */
export interface ConstantObject {
  readonly literal: ObjectLiteralExpression;
  readonly constants: readonly VariableDeclaration[];
}

/** Returns an expression without its parentheses and type assertions. */
export function unwrapped(expression: Node): Node {
  return Node.isParenthesizedExpression(expression) ||
    Node.isAsExpression(expression) ||
    Node.isSatisfiesExpression(expression) ||
    Node.isTypeAssertion(expression) ||
    Node.isNonNullExpression(expression)
    ? unwrapped(expression.getExpression())
    : expression;
}

/** Returns the object literal that an expression evaluates to; `undefined` if that is not known before the program runs. */
export function constantObject(expression: Node): ConstantObject | undefined {
  const plain = unwrapped(expression);
  if (Node.isObjectLiteralExpression(plain)) return { literal: plain, constants: [] };
  if (Node.isPropertyAccessExpression(plain)) {
    const holder = constantObject(plain.getExpression());
    const value = holder === undefined ? undefined : valueOf(holder.literal, plain.getName());
    const found = value === undefined ? undefined : constantObject(value);
    return found === undefined
      ? undefined
      : { ...found, constants: [...(holder?.constants ?? []), ...found.constants] };
  }
  const constant = constantOf(plain);
  const value = constant?.getInitializer();
  if (constant === undefined || value === undefined) return undefined;
  const found = constantObject(value);
  return found === undefined ? undefined : { ...found, constants: [constant, ...found.constants] };
}

/** Returns the `const` that an identifier names, even if it is imported. */
export function constantOf(node: Node): VariableDeclaration | undefined {
  if (!Node.isIdentifier(node)) return undefined;
  const parent = node.getParent();
  const symbol = Node.isShorthandPropertyAssignment(parent) ? parent.getValueSymbol() : node.getSymbol();
  const [declaration, ...others] = (symbol?.getAliasedSymbol() ?? symbol)?.getDeclarations() ?? [];
  if (others.length > 0 || !Node.isVariableDeclaration(declaration)) return undefined;
  return declaration.getVariableStatement()?.getDeclarationKind() === VariableDeclarationKind.Const
    ? declaration
    : undefined;
}

/**
 * Returns the value of the property `name` of an object literal; `undefined` if the property is absent, if it has no initializer (a method,
 * for example), or if a later spread may replace the value.
 */
function valueOf(literal: ObjectLiteralExpression, name: string): Node | undefined {
  for (const property of literal.getProperties().toReversed()) {
    if (Node.isSpreadAssignment(property)) {
      const spread = constantObject(property.getExpression());
      const value = spread === undefined ? undefined : valueOf(spread.literal, name);
      if (spread === undefined || value !== undefined) return value;
    } else if (property.getName() === name) {
      if (Node.isShorthandPropertyAssignment(property)) return property.getNameNode();
      return Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
    }
  }
  return undefined;
}

/** Returns the value of the property `name` of an object; `undefined` if the value is not known before the program runs. */
export function propertyOf(expression: Node, name: string): Node | undefined {
  const object = constantObject(expression);
  return object === undefined ? undefined : valueOf(object.literal, name);
}

/** Returns the keys of an object, each with its value if known; `undefined` if the keys are not known before the program runs. */
export function keysOf(expression: Node): ReadonlyMap<string, Node | undefined> | undefined {
  const object = constantObject(expression);
  if (object === undefined) {
    return keysOfType(expression.getType());
  }
  const keys = new Map<string, Node | undefined>();
  for (const property of object.literal.getProperties()) {
    if (Node.isSpreadAssignment(property)) {
      const spread = keysOf(property.getExpression());
      if (spread === undefined) return undefined;
      for (const [key, value] of spread) keys.set(key, value);
    } else {
      if (Node.isComputedPropertyName(property.getNameNode())) return undefined;
      const name = nameOf(property.getNameNode());
      keys.set(name, valueOf(object.literal, name));
    }
  }
  return keys;
}

/** Returns the keys of the object in the property `name` of `expression`; `undefined` if the keys are not known before the program runs. */
export function keysOfProperty(expression: Node, name: string): ReturnType<typeof keysOf> {
  const value = propertyOf(expression, name);
  if (value !== undefined) return keysOf(value);
  const property = expression.getType().getProperty(name);
  return property === undefined ? undefined : keysOfType(property.getTypeAtLocation(expression));
}

function keysOfType(type: Type): ReturnType<typeof keysOf> {
  const members = type.isUnion() ? type.getUnionTypes() : [type];
  if (!members.every((member) => member.isObject() && member.getStringIndexType() === undefined)) return undefined;
  return new Map(members.flatMap((member) => member.getProperties()).map((one) => [one.getName(), undefined]));
}

/** Returns the name of a property without its quotes. */
export function nameOf(name: Node): string {
  return Node.isStringLiteral(name) || Node.isNoSubstitutionTemplateLiteral(name)
    ? name.getLiteralText()
    : name.getText();
}

/** Returns the type-annotated constants that an object, its spreads, and its property values use. */
export function annotatedConstants(expression: Node): readonly VariableDeclaration[] {
  const object = constantObject(expression);
  if (object === undefined) return [];
  const values = object.literal.getProperties().flatMap((property): readonly Node[] => {
    if (Node.isSpreadAssignment(property)) return [property.getExpression()];
    if (Node.isShorthandPropertyAssignment(property)) return [property.getNameNode()];
    const value = Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
    return value === undefined ? [] : [value];
  });
  return [
    ...object.constants.filter((constant) => constant.getTypeNode() !== undefined),
    ...values.flatMap(annotatedConstants),
  ];
}

/** Returns the transport in a client's options object. */
export function transportOf(expression: Node): 'grpc' | 'other' | 'unknown' {
  const object = constantObject(expression);
  if (object !== undefined) {
    const keys = keysOf(object.literal);
    const value = valueOf(object.literal, 'transport');
    if (value !== undefined) return transportOfType(value);
    // Nest uses TCP if no transport is given, and a class of the application if `customClass` is given.
    if (keys !== undefined && !keys.has('transport')) return 'other';
  }
  const property = expression.getType().getProperty('transport');
  if (property === undefined) return 'unknown';
  const type = property.getTypeAtLocation(expression).getNonNullableType();
  return type.isLiteral() && !type.isUnion() ? (type.getLiteralValue() === GRPC ? 'grpc' : 'other') : 'unknown';
}

function transportOfType(value: Node): 'grpc' | 'other' | 'unknown' {
  const type = unwrapped(value).getType();
  const isKnown = type.isLiteral() && !type.isUnion();
  return isKnown ? (type.getLiteralValue() === GRPC ? 'grpc' : 'other') : 'unknown';
}
