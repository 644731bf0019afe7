import {
  Node,
  SyntaxKind,
  type Expression,
  type ObjectLiteralElementLike,
  type ObjectLiteralExpression,
  type SourceFile,
  type Type,
  type VariableDeclaration,
} from 'ts-morph';
import { CONTRACT_KEYS } from '../client/settings/contract.js';
import { OWNED_CHANNEL_OPTIONS } from '../client/settings/resolve-channel-settings.js';
import { annotatedConstants, constantObject, keysOf, keysOfProperty, nameOf, unwrapped } from './constants.js';
import { isFixed, isFixedProperty } from './fixed.js';
import { isMaybeEmpty, isPropertyMaybeEmpty } from './maybe-empty.js';
import { afterComma, afterComment, applyEdits, indentAt, reindent, removal, type TextEdit } from './text-edits.js';

/** An edit, and the file that it changes. */
export interface FileEdit extends TextEdit {
  readonly file: SourceFile;
  /** Name of the constant whose type changes. */
  readonly constant?: string;
}

/** The options of one client, rewritten, or the reason why they must be rewritten by hand. */
export type RewrittenClient =
  | {
      readonly ok: true;
      readonly text: string;
      /** Edits to the types of constants that the client uses; applied only if the text does not compile without them. */
      readonly retypes: readonly FileEdit[];
      readonly notes: readonly string[];
    }
  | { readonly ok: false; readonly because: string };

/** Default `url` of Nest's client. */
const DEFAULT_URL = "'localhost:5000'";

const CONTRACT: ReadonlySet<string> = new Set(CONTRACT_KEYS);
/** Options of Nest that have the same name and meaning in this library. */
const SUPPORTED_OPTIONS: ReadonlySet<string> = new Set([
  ...CONTRACT_KEYS,
  'url',
  'credentials',
  'keepalive',
  'maxSendMessageLength',
  'maxReceiveMessageLength',
  'channelOptions',
]);
/**
 * Options of Nest that have no effect on a gRPC client. `forFeature` accepts them, but `forFeatureAsync` rejects them in the result of its
 * factory.
 */
const OPTIONS_WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'maxMetadataSize',
  'gracefulShutdown',
  'onLoadPackageDefinition',
]);
/** The keys of `keepalive` that have an effect on a gRPC client. */
const KEEPALIVE: ReadonlySet<string> = new Set([
  'keepaliveTimeMs',
  'keepaliveTimeoutMs',
  'keepalivePermitWithoutCalls',
]);

/** Thrown if a client must be rewritten by hand. The message is a predicate whose subject is the client. */
class ByHand extends Error {}

/** Rewrites the options of one client for `forFeature`. */
export function rewriteClient(client: Expression): RewrittenClient {
  return rewritten(client, (writer) =>
    Node.isObjectLiteralExpression(client) ? writer.clientText(client) : writer.constantText(client),
  );
}

/**
 * Rewrites an object with `name` and `useFactory` for `forFeatureAsync`. The factory then returns the settings, and the contract is next to
 * the factory.
 */
export function rewriteAsyncClient(client: ObjectLiteralExpression): RewrittenClient {
  return rewritten(client, (writer) => writer.asyncClientText(client));
}

function rewritten(client: Expression, write: (writer: ClientWriter) => string): RewrittenClient {
  const writer = new ClientWriter(client.getSourceFile());
  try {
    return { ok: true, text: write(writer), retypes: writer.retypes, notes: writer.notes };
  } catch (error) {
    if (error instanceof ByHand) return { ok: false, because: error.message };
    throw error;
  }
}

/** Returns the object literal that the factory of an async client returns; `undefined` if the factory returns anything else. */
function returnedObject(client: ObjectLiteralExpression): ObjectLiteralExpression | undefined {
  const returned = returnedBy(factoryOf(client));
  const object = returned === undefined ? undefined : unwrapped(returned);
  return Node.isObjectLiteralExpression(object) ? object : undefined;
}

/**
 * Returns the expression that the factory of an async client returns; `undefined` if the factory is not a function literal, or if its
 * body has several `return` statements, none, or only a nested one.
 */
export function returnedExpression(client: ObjectLiteralExpression): Expression | undefined {
  return returnedBy(factoryOf(client));
}

function factoryOf(client: ObjectLiteralExpression) {
  const property = client.getProperty('useFactory');
  if (Node.isMethodDeclaration(property)) return property;
  const value = Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
  return Node.isArrowFunction(value) || Node.isFunctionExpression(value) ? value : undefined;
}

function returnedBy(factory: ReturnType<typeof factoryOf>): Expression | undefined {
  const body = factory?.getBody();
  if (body === undefined) return undefined;
  if (!Node.isBlock(body)) return Node.isExpression(body) ? body : undefined;
  const returns = body.getDescendants().filter(Node.isReturnStatement);
  const isFunction = (node: Node) => Node.isFunctionLikeDeclaration(node) || Node.isFunctionExpression(node);
  const own = returns.filter((one) => one.getFirstAncestor(isFunction) === factory);
  return own.length === 1 && own[0]?.getParent() === body ? own[0].getExpression() : undefined;
}

/** Place of a client's options: the array of clients, or a factory. */
interface Place {
  /** List that collects the contract options found in a factory; `undefined` outside of factories. */
  readonly contract: ContractOption[] | undefined;
  readonly factory: Node | undefined;
  /** Indentation of the contract options. */
  readonly indent: string;
}

/** An option of the contract that moves out of a factory. */
interface ContractOption {
  readonly text: string;
  /** Comment beside the option; the empty string if absent. */
  readonly comment: string;
}

const OUTSIDE: Place = { contract: undefined, factory: undefined, indent: '' };

class ClientWriter {
  readonly retypes: FileEdit[] = [];
  readonly notes: string[] = [];
  private readonly source: string;

  constructor(file: SourceFile) {
    this.source = file.getFullText();
  }

  clientText(client: ObjectLiteralExpression, place = OUTSIDE): string {
    const edits: TextEdit[] = [];
    const isFactory = place.contract !== undefined;
    // True for `{ name: 'orders', ...shared }`, for example.
    const isSpread = client.getProperties().some(Node.isSpreadAssignment);
    if (!isFactory && isSpread && this.isAcceptedAsIs(client)) return client.getText();
    if (hasSeveralUrls(client)) {
      // A client in Nest's form stays unchanged, because the library applies the default `url` to it at run time.
      if (!isFactory && this.isNestForm(client)) return client.getText();
      throw new ByHand('has a url, and a later spread whose url may be missing or empty; write one url');
    }
    for (const property of client.getProperties()) {
      if (Node.isSpreadAssignment(property)) {
        edits.push(this.replacement(property, this.spreadClient(property.getExpression(), property, place)));
        continue;
      }
      const name = nameOf(property.getNameNode());
      if (name === 'transport') edits.push(removal(this.source, property.getStart(), property.getEnd()));
      else if (name === 'options') edits.push(this.replacement(property, this.optionsText(property, place)));
      else if (name !== 'name' || isFactory)
        throw new ByHand(
          `has the key ${name}; migrate supports only ${isFactory ? 'transport and options' : 'name, transport, and options'}`,
        );
    }
    const text = applyEdits(this.source, edits, client.getStart(), client.getEnd());
    return client.compilerNode.properties.hasTrailingComma ? text : text.replace(/,(\s*)\}$/, '$1}');
  }

  /** Returns the text of a client that is a constant, if `forFeature` accepts the constant unchanged. */
  constantText(client: Expression): string {
    if (!this.isAcceptedAsIs(client))
      throw new ByHand('is a constant that forFeature does not accept; write its properties here, with a url');
    for (const constant of annotatedConstants(client)) this.retype(constant);
    return client.getText();
  }

  /** True if `forFeature` accepts the client unchanged. */
  private isAcceptedAsIs(client: Expression): boolean {
    const options = keysOfProperty(client, 'options');
    if (options === undefined || !this.isNestForm(client)) return false;
    const type = client.getType().getProperty('options')?.getTypeAtLocation(client);
    return !isUrlMaybeEmpty(options, type, client);
  }

  /** True if the client has only the keys of Nest's form. Throws if an option has no equivalent. */
  private isNestForm(client: Expression): boolean {
    const keys = keysOf(client);
    const options = keysOfProperty(client, 'options');
    if (keys === undefined || options === undefined) return false;
    if (![...keys.keys()].every((key) => key === 'name' || key === 'transport' || key === 'options')) return false;
    this.checked(options, client.getText());
    return true;
  }

  asyncClientText(client: ObjectLiteralExpression): string {
    const known = ['name', 'imports', 'inject', 'useFactory'];
    for (const property of client.getProperties()) {
      const isSpread = Node.isSpreadAssignment(property);
      const name = isSpread ? property.getText() : nameOf(property.getNameNode());
      if (name === 'useClass' || name === 'useExisting')
        throw new ByHand(`has ${name}; implement createGrpcClientOptions() in its class, and write forFeatureAsync`);
      if (name === 'extraProviders')
        throw new ByHand('has extraProviders; move them to a module in imports, and write forFeatureAsync');
      if (!known.includes(name))
        throw new ByHand(
          `has the ${isSpread ? 'spread' : 'key'} ${name}; with a factory, migrate supports only ${known.join(', ')}`,
        );
    }
    const factory = factoryOf(client);
    const expression = returnedExpression(client);
    const returned = returnedObject(client);
    const name = client.getProperty('name');
    if (factory === undefined || expression === undefined || returned === undefined || name === undefined)
      throw new ByHand('has a factory that does not return one object literal; write forFeatureAsync');
    const indent = indentAt(this.source, name.getStart());
    const contract: ContractOption[] = [];
    const text = this.clientText(returned, { contract, factory, indent });
    const inner = Node.isParenthesizedExpression(expression) ? expression.getExpression() : expression;
    const edits: TextEdit[] = [
      ...this.contractEdits(name, contract, isOnLines(client)),
      { start: inner.getStart(), end: inner.getEnd(), text },
    ];
    // Removes the declared return type, which is Nest's, so that TypeScript infers the correct type.
    const type = factory.getReturnTypeNode();
    if (type !== undefined) {
      const colon = this.source.lastIndexOf(':', type.getStart());
      edits.push({ start: colon, end: type.getEnd(), text: '' });
    }
    return applyEdits(this.source, edits, client.getStart(), client.getEnd());
  }

  /** Returns the edits that insert the contract after a client's `name` property and any comment beside it. */
  private contractEdits(name: Node, contract: readonly ContractOption[], isOnLines: boolean): readonly TextEdit[] {
    const end = name.getEnd();
    const comma = afterComma(this.source, end);
    const isLast = comma === end;
    const position = afterComment(this.source, comma);
    const indent = indentAt(this.source, name.getStart());
    const texts = contract.map(({ text, comment }, index) => {
      const option = isLast && index === contract.length - 1 ? text : `${text},`;
      if (comment === '') return option;
      return isOnLines ? `${option} ${comment}` : `${comment}\n${indent}${option}`;
    });
    const inserted = texts.map((text) => (isOnLines ? `\n${indent}` : ' ') + text).join('');
    if (inserted === '' || !isLast) return [{ start: position, end: position, text: inserted }];
    if (position === end) return [{ start: end, end, text: `,${inserted}` }];
    return [
      { start: end, end, text: ',' },
      { start: position, end: position, text: inserted },
    ];
  }

  /** Returns the edit that replaces a property and its comma with `text`, in which each property ends with a comma. */
  private replacement(property: Node, text: string): TextEdit {
    const start = property.getStart();
    if (text === '') return removal(this.source, start, property.getEnd());
    const end = afterComma(this.source, property.getEnd());
    const commentEnd = afterComment(this.source, end);
    if (commentEnd === end || !text.includes('\n')) return { start, end, text };
    // Puts the comment on a line of its own, because on the last line of `text`, it would describe only the last option.
    const comment = this.source.slice(end, commentEnd).trim();
    return { start, end: commentEnd, text: `${text}\n${indentAt(this.source, start)}${comment}` };
  }

  /** Returns the properties in `options: { … }`, without the object around them. */
  private optionsText(property: ObjectLiteralElementLike, place: Place): string {
    const value = Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
    const given = Node.isShorthandPropertyAssignment(property) ? property.getNameNode() : value;
    const options = given === undefined ? undefined : unwrapped(given);
    if (given === undefined || options === undefined)
      throw new ByHand('has options that are not an expression; write them as an object literal');
    if (!Node.isObjectLiteralExpression(options)) {
      const keys = this.checked(keysOf(given), given.getText());
      const spread = { text: given.getText(), keys, root: given, type: given.getType() };
      return this.spreadText(spread, property, place, 'always');
    }

    const edits: TextEdit[] = [];
    let hasUrl = false;
    const properties = options.getProperties();
    for (const one of properties) {
      const { edit, isUrl } = this.optionEdit(one, place);
      edits.push(...edit);
      hasUrl ||= isUrl;
    }
    const last = properties.at(-1);
    const isLastRemoved =
      last === undefined || edits.some(({ start, end }) => start <= last.getStart() && end >= last.getEnd());
    if (last !== undefined && !isLastRemoved && !options.compilerNode.properties.hasTrailingComma)
      edits.push({ start: last.getEnd(), end: last.getEnd(), text: ',' });
    const inside = applyEdits(this.source, edits, options.getStart() + 1, options.getEnd() - 1);
    const indent = indentAt(this.source, property.getStart());
    const text = reindent(inside.trim(), indentAt(this.source, properties[0]?.getStart() ?? 0), indent);
    const separator = isOnLines(options) || isOnLines(property.getParentOrThrow()) ? `\n${indent}` : ' ';
    return [...(hasUrl ? [] : [`url: ${DEFAULT_URL},`]), ...(text === '' ? [] : [text])].join(separator);
  }

  private optionEdit(
    property: ObjectLiteralElementLike,
    place: Place,
  ): { readonly edit: readonly TextEdit[]; readonly isUrl: boolean } {
    if (Node.isSpreadAssignment(property)) {
      const root = property.getExpression();
      const keys = this.checked(keysOf(root), root.getText());
      const spread = { text: root.getText(), keys, root, type: root.getType() };
      // The default must not replace a `url` of the literal itself.
      const isOverridden =
        property.getParentIfKind(SyntaxKind.ObjectLiteralExpression)?.getProperty('url') !== undefined;
      const text = this.spreadText(spread, property, place, isOverridden ? 'never' : 'if-spread');
      const isSame = text === `...${root.getText()},`;
      return { edit: isSame ? [] : [this.replacement(property, text)], isUrl: keys.has('url') };
    }
    const name = nameOf(property.getNameNode());
    const value = Node.isPropertyAssignment(property) ? property.getInitializer() : property.getNameNode();
    const removed = removal(this.source, property.getStart(), property.getEnd());
    const isFactory = place.contract !== undefined;
    if (OPTIONS_WITHOUT_EFFECT.has(name) && !isFactory) return { edit: [], isUrl: false };
    if (this.hasNoEffect(name, value)) return { edit: [removed], isUrl: false };
    this.check(name, value);
    if (place.contract !== undefined && CONTRACT.has(name)) {
      this.checkOutside(property, place);
      checkFixed(isFixedProperty(property), property.getText());
      const start = property.getLeadingCommentRanges()[0]?.getPos() ?? property.getStart();
      const text = this.source.slice(start, property.getEnd());
      const edit = removal(this.source, start, property.getEnd());
      place.contract.push({
        text: reindent(text, indentAt(this.source, property.getStart()), place.indent),
        comment: this.source.slice(afterComma(this.source, property.getEnd()), edit.end).trim(),
      });
      return { edit: [edit], isUrl: false };
    }
    const edit: TextEdit[] = [];
    if (name === 'url' && value !== undefined && isMaybeEmpty(value)) {
      edit.push({ start: property.getStart(), end: property.getEnd(), text: `url: ${withDefaultUrl(value)}` });
    }
    const literal = value === undefined ? undefined : unwrapped(value);
    if (isFactory && name === 'keepalive' && Node.isObjectLiteralExpression(literal)) {
      for (const one of literal.getProperties()) {
        if (Node.isSpreadAssignment(one) || KEEPALIVE.has(nameOf(one.getNameNode()))) continue;
        edit.push(removal(this.source, one.getStart(), one.getEnd()));
        this.notes.push(`removed keepalive.${nameOf(one.getNameNode())}, which has no effect on a client`);
      }
    }
    return { edit, isUrl: name === 'url' };
  }

  /** Returns the properties that replace a spread of `transport` and `options` in a client, such as `...shared`. */
  private spreadClient(expression: Expression, property: Node, place: Place): string {
    const text = expression.getText();
    const keys = keysOf(expression);
    if (keys === undefined || unwrapped(expression) !== expression)
      throw new ByHand(`has options that migrate cannot read: ...${text}; write them as an object literal`);
    for (const key of keys.keys())
      if (key !== 'transport' && key !== 'options')
        throw new ByHand(`has the key ${key} in ${text}; migrate supports only transport and options there`);
    // Options of the client itself replace those of the spread.
    const own = property.getParentIfKind(SyntaxKind.ObjectLiteralExpression)?.getProperty('options');
    if (!keys.has('options') || own !== undefined) return '';
    const keysOfOptions = this.checked(keysOfProperty(expression, 'options'), text);
    const type = expression.getType().getProperty('options')?.getTypeAtLocation(expression);
    return this.spreadText(
      { text: `${text}.options`, keys: keysOfOptions, root: expression, type },
      property,
      place,
      'always',
    );
  }

  /**
   * Returns the properties that replace an options object that is not a literal. Outside of factories, they are a spread and, if needed, a
   * `url`. In a factory, they are one property for each option that stays in the factory.
   *
   * @param defaultUrl 'always' adds Nest's default if `url` is missing or may be empty; 'if-spread' only if the object has a `url` that may
   * be empty; 'never' adds no default
   */
  private spreadText(
    { text, keys, root, type }: Spread,
    property: Node,
    place: Place,
    defaultUrl: 'always' | 'if-spread' | 'never',
  ): string {
    const isFactory = place.contract !== undefined;
    const dropped = isFactory ? [...keys.keys()].filter((key) => this.hasNoEffect(key, keys.get(key), text)) : [];
    for (const constant of annotatedConstants(root)) this.retype(constant);
    const maybeNoUrl = defaultUrl !== 'never' && keys.has('url') && isUrlMaybeEmpty(keys, type, root);
    const parts: string[] = keys.has('url') || defaultUrl !== 'always' ? [] : [`url: ${DEFAULT_URL},`];
    if (!isFactory) parts.push(`...${text},`);
    else if (!/^[\w$.]+$/.test(text))
      throw new ByHand(`has options that are not a constant: ${text}; write them as an object literal`);
    for (const key of keys.keys()) {
      if (dropped.includes(key)) continue;
      if (isFactory && CONTRACT.has(key)) {
        this.checkOutside(root, place);
        // The value is known only if it is the property of a constant.
        checkFixed(keys.get(key) !== undefined && isFixed(root), `${text}.${key}`);
        place.contract.push({ text: `${key}: ${text}.${key}`, comment: '' });
      } else if (key === 'url' && maybeNoUrl) parts.push(`url: ${text}.url || ${DEFAULT_URL},`);
      else if (isFactory) parts.push(`${key}: ${text}.${key},`);
    }
    const separator = isOnLines(property.getParentOrThrow()) ? `\n${indentAt(this.source, property.getStart())}` : ' ';
    return parts.join(separator);
  }

  /** Returns the keys of options. Throws if the keys are unknown, or if an option has no equivalent. */
  private checked(keys: ReturnType<typeof keysOf>, text: string): ReadonlyMap<string, Node | undefined> {
    if (keys === undefined)
      throw new ByHand(`has options that migrate cannot read: ${text}; write them as an object literal`);
    for (const [key, value] of keys) if (!OPTIONS_WITHOUT_EFFECT.has(key)) this.check(key, value);
    return keys;
  }

  /** Throws if the option `name` has no equivalent, or if it is `channelOptions` with a key that this library does not accept. */
  private check(name: string, value: Node | undefined): void {
    if (name === 'protoLoader') {
      if (isDefaultLoader(value)) return;
      throw new ByHand('has protoLoader; load the definition, and pass it as packageDefinition');
    }
    if (!SUPPORTED_OPTIONS.has(name)) throw new ByHand(`has the option ${name}, which this library does not have`);
    if (name === 'channelOptions' && value !== undefined) {
      const key = ownedKeyIn(value);
      if (key !== undefined) throw new ByHand(`has channelOptions['${key}']: ${OWNED_CHANNEL_OPTIONS[key] ?? ''}`);
    }
  }

  /** True if the option must be omitted. Adds a note once if the option has no effect on a client. */
  private hasNoEffect(name: string, value: Node | undefined, owner?: string): boolean {
    if (OPTIONS_WITHOUT_EFFECT.has(name)) {
      const note = `removed ${owner === undefined ? '' : `${owner}.`}${name}, which has no effect on a client`;
      if (!this.notes.includes(note)) this.notes.push(note);
      return true;
    }
    return name === 'protoLoader' && isDefaultLoader(value);
  }

  /** Throws if a part of the contract uses a parameter or variable of the factory, because the contract moves out of the factory. */
  private checkOutside(part: Node, { factory }: Place): void {
    if (factory === undefined) return;
    const isInside = (node: Node, outer: Node) => node === outer || node.getAncestors().includes(outer);
    for (const identifier of [part, ...part.getDescendants()].filter(Node.isIdentifier)) {
      const parent = identifier.getParent();
      // Uses the value symbol for a shorthand such as `{ protoPath }`, because the symbol of its identifier is the property, not the
      // variable.
      const symbol = Node.isShorthandPropertyAssignment(parent) ? parent.getValueSymbol() : identifier.getSymbol();
      const declarations = symbol?.getDeclarations() ?? [];
      if (declarations.some((one) => isInside(one, factory) && !isInside(one, part)))
        throw new ByHand(
          `needs ${identifier.getText()} from its factory for the contract (${CONTRACT_KEYS.join(', ')}), which forFeatureAsync expects next to the factory`,
        );
    }
  }

  /**
   * Records the edits that replace a Nest type annotation of a constant with `satisfies`, so that TypeScript infers which of the optional
   * keys are set.
   */
  private retype(constant: VariableDeclaration): void {
    const type = constant.getTypeNode();
    const value = constant.getInitializer();
    if (type === undefined || value === undefined || !isTypeOfNest(type)) return;
    const file = constant.getSourceFile();
    this.retypes.push(
      { file, start: constant.getNameNode().getEnd(), end: type.getEnd(), text: '' },
      {
        file,
        start: value.getEnd(),
        end: value.getEnd(),
        text: ` satisfies ${type.getText()}`,
        constant: constant.getName(),
      },
    );
  }
}

/** Options that are spread. */
interface Spread {
  readonly text: string;
  readonly keys: ReadonlyMap<string, Node | undefined>;
  /** Expression with the constants that contain the options. */
  readonly root: Node;
  /** Type of the options. */
  readonly type: Type | undefined;
}

/** True if the `url` of options can be missing or empty. */
function isUrlMaybeEmpty(keys: ReadonlyMap<string, Node | undefined>, type: Type | undefined, location: Node): boolean {
  const url = keys.get('url');
  if (url !== undefined) return isMaybeEmpty(url);
  return !keys.has('url') || isPropertyMaybeEmpty(type, 'url', location);
}

/**
 * True if the last property or spread with a `url` in the client's options is a spread whose `url` may be missing or empty, and an earlier
 * property or spread has a `url`, too. The `url` that Nest would use is known only at run time.
 */
function hasSeveralUrls(client: ObjectLiteralExpression): boolean {
  const options = client.getProperty('options');
  const value = Node.isPropertyAssignment(options) ? options.getInitializer() : undefined;
  const literal = value === undefined ? undefined : unwrapped(value);
  const properties = Node.isObjectLiteralExpression(literal) ? literal.getProperties() : [];
  const withUrl = properties.filter((one) =>
    Node.isSpreadAssignment(one) ? keysOf(one.getExpression())?.has('url') : nameOf(one.getNameNode()) === 'url',
  );
  const last = withUrl.at(-1);
  if (withUrl.length < 2 || !Node.isSpreadAssignment(last)) return false;
  const root = last.getExpression();
  return isUrlMaybeEmpty(keysOf(root) ?? new Map(), root.getType(), root);
}

/** Returns the first of the known keys of `channelOptions` that this library does not accept. */
function ownedKeyIn(channelOptions: Node): string | undefined {
  for (const property of constantObject(channelOptions)?.literal.getProperties() ?? []) {
    const key = Node.isSpreadAssignment(property)
      ? ownedKeyIn(property.getExpression())
      : nameOf(property.getNameNode());
    if (key !== undefined && Object.hasOwn(OWNED_CHANNEL_OPTIONS, key)) return key;
  }
  return undefined;
}

/** Throws if a part of the contract is not fixed, because the contract moves next to the factory, where it is evaluated at import. */
function checkFixed(isFixedPart: boolean, text: string): void {
  if (isFixedPart) return;
  throw new ByHand(
    `has a contract that its factory computes: ${text}; forFeatureAsync expects the contract next to the factory, where it is evaluated at import; write forFeatureAsync by hand if the value does not change after the import`,
  );
}

/** Returns an expression that evaluates to `value`, or to Nest's default if `value` is empty. */
function withDefaultUrl(value: Node): string {
  // The compiler rejects `'' || …` and `undefined || …`.
  if (Node.isStringLiteral(value) || value.getType().isUndefined()) return DEFAULT_URL;
  const isOperation = Node.isBinaryExpression(value) || Node.isConditionalExpression(value);
  return `${isOperation ? `(${value.getText()})` : value.getText()} || ${DEFAULT_URL}`;
}

/** True if an object or array has its items on lines of their own. */
function isOnLines(node: Node): boolean {
  return /^[{[][ \t]*(\/[/*].*)?\r?\n/.test(node.getText());
}

/** True if `value` names the package that this library and Nest use by default. */
function isDefaultLoader(value: Node | undefined): boolean {
  return Node.isStringLiteral(value) && value.getLiteralText() === '@grpc/proto-loader';
}

function isTypeOfNest(type: Node): boolean {
  return [type, ...type.getDescendants()]
    .filter(Node.isIdentifier)
    .some((identifier) =>
      (identifier.getSymbol()?.getDeclarations() ?? [])
        .map((declaration) => declaration.getFirstAncestor(Node.isImportDeclaration))
        .some((declaration) => declaration?.getModuleSpecifierValue() === '@nestjs/microservices'),
    );
}
