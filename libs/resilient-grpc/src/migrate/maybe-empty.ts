import { Node, SyntaxKind, ts, type BinaryExpression, type CallExpression, type Type } from 'ts-morph';
import { constantOf, keysOf, unwrapped } from './constants.js';

/**
 * True if a value, such as a `url`, can be `undefined`, null, or the empty string. Nest's client would then use its default. A value of
 * type `string` is assumed not to be empty if strict null checks are on. Without strict null checks, the value is treated as possibly
 * empty, because its type does not show whether it is `undefined`.
 */
export function isMaybeEmpty(value: Node): boolean {
  // Removes assertions, such as the `!` in `process.env.URL!`, because they hide `undefined` but do not prevent it.
  const plain = unwrapped(value);
  if (Node.isStringLiteral(plain) || Node.isNoSubstitutionTemplateLiteral(plain)) return plain.getLiteralText() === '';
  if (Node.isTemplateExpression(plain)) return false;
  if (Node.isConditionalExpression(plain))
    return isMaybeEmpty(plain.getWhenTrue()) || isMaybeEmpty(plain.getWhenFalse());
  const parts = Node.isBinaryExpression(plain) ? isOperationMaybeEmpty(plain) : undefined;
  const call = Node.isCallExpression(plain) ? isCallMaybeEmpty(plain) : undefined;
  const constant = constantValueOf(plain);
  return parts ?? call ?? (constant === undefined ? isTypeMaybeEmpty(plain.getType(), plain) : isMaybeEmpty(constant));
}

/** True if the property `name` of an object of this type can be `undefined`, null, or the empty string. */
export function isPropertyMaybeEmpty(type: Type | undefined, name: string, location: Node): boolean {
  const property = type?.getProperty(name);
  if (property === undefined || property.isOptional()) return true;
  return isTypeMaybeEmpty(property.getTypeAtLocation(location), location);
}

/** Returns the result of `isMaybeEmpty` for an operation with `+`, `||`, or `??`; `undefined` for other operators. */
function isOperationMaybeEmpty(operation: BinaryExpression): boolean | undefined {
  switch (operation.getOperatorToken().getKind()) {
    case SyntaxKind.PlusToken:
      return false;
    case SyntaxKind.BarBarToken:
    case SyntaxKind.QuestionQuestionToken:
      return isMaybeEmpty(operation.getRight());
    default:
      return undefined;
  }
}

/**
 * Returns the result of `isMaybeEmpty` for a call to `getOrThrow(…)` or `get('KEY', default)` of Nest's ConfigService; `undefined` for
 * other calls. The type of such a call is not used, because it is often `any`.
 */
function isCallMaybeEmpty(call: CallExpression): boolean | undefined {
  const callee = call.getExpression();
  const name = Node.isPropertyAccessExpression(callee) ? callee.getName() : undefined;
  if (name === 'getOrThrow') return false;
  // The second argument of `get` is the default value, or an object with options.
  const [key, fallback] = call.getArguments();
  const hasFallback = fallback !== undefined && !Node.isObjectLiteralExpression(fallback);
  return name === 'get' && hasFallback && Node.isStringLiteral(key) ? isMaybeEmpty(fallback) : undefined;
}

/** Returns the value of a constant, or of a property of a constant object; `undefined` if it is not known before the program runs. */
function constantValueOf(node: Node): Node | undefined {
  return Node.isPropertyAccessExpression(node)
    ? keysOf(node.getExpression())?.get(node.getName())
    : constantOf(node)?.getInitializer();
}

function isTypeMaybeEmpty(type: Type, location: Node): boolean {
  if (type.isLiteral() && !type.isNullable()) return type.getLiteralValue() === '';
  return (
    type.isAny() ||
    type.isUnknown() ||
    type.isNullable() ||
    type.isUndefined() ||
    type.isNull() ||
    !hasStrictNullChecks(location)
  );
}

/** True if types show whether a value can be `undefined`. */
function hasStrictNullChecks(location: Node): boolean {
  const { strict, strictNullChecks } = location.getProject().compilerOptions.get();
  return strictNullChecks ?? strict ?? !ts.version.startsWith('5');
}
