import {
  Node,
  type ArrowFunction,
  type FunctionExpression,
  type MethodDeclaration,
  type ObjectLiteralExpression,
  VariableDeclarationKind,
  type Type,
} from 'ts-morph';
import { CONTRACT_KEYS } from '../client/settings/contract.js';

/** Replacement for the characters of a file from `start` to `end` (exclusive). */
export interface TextEdit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Thrown if a person must rewrite a client. The message is a predicate whose subject is the client, with the remedy. */
export class ByHand extends Error {}

const CONTRACT: ReadonlySet<string> = new Set(CONTRACT_KEYS);
/** Target of Nest's client if it has no `url`. */
const DEFAULT_URL = "'localhost:5000'";
/** Functions whose result depends only on their arguments. */
const PATH_FUNCTION = /^(?:path\.)?(?:join|resolve|dirname|fileURLToPath|require\.resolve)$/;

/** The keys of an async client that this library has, too; for some others, what to do. */
const KEYS = ['name', 'imports', 'inject', 'useFactory'];
const REMEDY = 'write forFeatureAsync, with the contract next to the factory';
const REMEDIES: Readonly<Record<string, string>> = {
  useClass: 'implement createGrpcClientOptions() in its class, and write forFeatureAsync',
  useExisting: 'implement createGrpcClientOptions() in its class, and write forFeatureAsync',
  extraProviders: 'move them to a module in imports',
};

/** Returns the transport of a client with a factory; 'grpc' if it is unknown, because `factoryEdits` then explains what to do. */
export function asyncTransportOf(client: Node): ReturnType<typeof transportOf> {
  const result = resultOf(factoryOf(client));
  return result === undefined || transportOf(result) !== 'other' ? 'grpc' : 'other';
}

/**
 * Returns the edits that move the contract of an async client from the result of its factory to the client, and leave the settings in the
 * result, as forFeatureAsync expects.
 *
 * @throws ByHand if the factory does anything but return one object literal, or computes the contract
 */
export function factoryEdits(client: Node, call: Node): readonly TextEdit[] {
  if (!Node.isObjectLiteralExpression(client) || !client.getAncestors().includes(call))
    throw new ByHand(`is not written in the call; ${REMEDY}`);
  for (const property of client.getProperties()) {
    const key = Node.isSpreadAssignment(property) ? property.getText() : property.getName();
    if (!KEYS.includes(key)) throw new ByHand(`has ${key}; ${REMEDIES[key] ?? REMEDY}`);
  }
  const factory = factoryOf(client);
  const result = resultOf(factory);
  const options = result && valueOf(result, 'options');
  const isReadable = result?.getAncestors().some((one) => one === factory) === true && transportOf(result) === 'grpc';
  if (!factory || !isReadable || !Node.isObjectLiteralExpression(options) || result.getProperties().length !== 2)
    throw new ByHand(`has a factory that does not return one { transport: Transport.GRPC, options: { … } }; ${REMEDY}`);
  const comments = result
    .getDescendants()
    .flatMap((one) => [one.getLeadingCommentRanges(), one.getTrailingCommentRanges()]);
  if (comments.some(({ length }) => length > 0))
    throw new ByHand(`has comments in the result of its factory, which a rewrite would lose; ${REMEDY}`);

  const contract: string[] = [];
  const settings = options.getProperty('url') === undefined ? [`url: ${DEFAULT_URL}`] : [];
  for (const property of options.getProperties()) {
    if (Node.isSpreadAssignment(property)) throw new ByHand(`has ${property.getText()} in its factory; ${REMEDY}`);
    const isContract = CONTRACT.has(property.getName());
    if (isContract && !isFixed(property, factory))
      throw new ByHand(
        `has a contract that its factory computes (${property.getText()}), but it must not change after the import; ${REMEDY}`,
      );
    if (isContract) contract.push(property.getText());
    else settings.push(property.getName() === 'url' ? urlText(propertyValue(property)) : property.getText());
  }
  const property = client.getPropertyOrThrow('useFactory');
  const start = property.getLeadingCommentRanges()[0]?.getPos() ?? property.getStart();
  const type = factory.getReturnTypeNode();
  const colon = type?.getPreviousSibling();
  const [line] = /\n[ \t]*/.exec(options.getText()) ?? [' '];
  const end = line === ' ' ? ' ' : `,${/\n[ \t]*(?=\}$)/.exec(options.getText())?.[0] ?? ' '}`;
  const [between] = /\n[ \t]*/.exec(client.getText()) ?? [' '];
  return [
    { start, end: start, text: contract.map((text) => `${text},${between}`).join('') },
    // The declared type is Nest's. TypeScript infers the new one.
    ...(type && colon ? [{ start: colon.getStart(), end: type.getEnd(), text: '' }] : []),
    { start: result.getStart(), end: result.getEnd(), text: `{${line}${settings.join(`,${line}`)}${end}}` },
  ];
}

function factoryOf(client: Node): ArrowFunction | FunctionExpression | MethodDeclaration | undefined {
  const property = Node.isObjectLiteralExpression(client) ? client.getProperty('useFactory') : undefined;
  const factory = Node.isPropertyAssignment(property) ? property.getInitializer() : property;
  const isFunction =
    Node.isArrowFunction(factory) || Node.isFunctionExpression(factory) || Node.isMethodDeclaration(factory);
  return isFunction ? factory : undefined;
}

/** Returns the object literal that a factory returns; `undefined` if it is not the only result. */
function resultOf(factory: ReturnType<typeof factoryOf>): ObjectLiteralExpression | undefined {
  const body = factory?.getBody();
  const returns = Node.isBlock(body) ? body.getDescendants().filter(Node.isReturnStatement) : [];
  const [only] = returns;
  if (Node.isBlock(body) && (returns.length !== 1 || only?.getParent() !== body)) return undefined;
  const returned = Node.isBlock(body) ? only?.getExpression() : body;
  const result = returned && constantValue(returned);
  return Node.isObjectLiteralExpression(result) ? result : undefined;
}

/** Returns the `url`, with Nest's default if it may be empty, because Nest's client would use it. */
function urlText(url: Node | undefined): string {
  const text = url?.getText() ?? DEFAULT_URL;
  if (url === undefined || Node.isTemplateExpression(url) || Node.isStringLiteral(constantValue(url)))
    return `url: ${text}`;
  const isSimple = Node.isCallExpression(url) || Node.isIdentifier(url) || Node.isPropertyAccessExpression(url);
  return `url: ${isSimple ? text : `(${text})`} || ${DEFAULT_URL}`;
}

/** True if an option is the same at the import of the file, when forFeatureAsync evaluates it, as at a later call of the factory. */
function isFixed(option: Node, factory: Node): boolean {
  return option.getDescendants().every((node) => {
    if (Node.isCallExpression(node)) return PATH_FUNCTION.test(node.getExpression().getText());
    const declaration = Node.isIdentifier(node) ? declarationOf(node) : undefined;
    const isOfFile = declaration?.getSourceFile().isDeclarationFile() !== true;
    if (Node.isVariableDeclaration(declaration) && isOfFile && constantValue(node) === node) return false;
    const isLocal = declaration?.getAncestors().some((one) => one === factory) === true;
    return (
      node.getText() !== 'process' &&
      (!isLocal || declaration === option || declaration.getAncestors().includes(option))
    );
  });
}

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
function declarationOf(identifier: Node): Node | undefined {
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

export function transportOf(client: Node): 'grpc' | 'other' | 'unknown' {
  const type = client.getType();
  const property = type.getProperty('transport');
  const found = valueOf(client, 'transport')?.getType() ?? property?.getTypeAtLocation(client).getNonNullableType();
  if (found?.isLiteral() === true && !found.isUnion()) return found.getLiteralValue() === GRPC ? 'grpc' : 'other';
  // Nest uses TCP if no transport is given. A class of the application may extend Nest's gRPC client.
  const isTcp = (one: Type) => one.isObject() && !one.getProperty('transport') && !one.getProperty('customClass');
  return (type.isUnion() ? type.getUnionTypes() : [type]).every(isTcp) ? 'other' : 'unknown';
}
