import {
  Node,
  Project,
  SyntaxKind,
  ts,
  VariableDeclarationKind,
  type ArrowFunction,
  type CallExpression,
  type FunctionExpression,
  type MethodDeclaration,
  type ObjectLiteralExpression,
  type SourceFile,
  type Type,
} from 'ts-morph';
import { CONTRACT_KEYS } from '../client/settings/contract.js';
/** Replacement for the characters of a file from `start` to `end` (exclusive). */
interface TextEdit {
  readonly start: number;
  readonly end: number;
  readonly text: string;
}

/** Thrown if a person must rewrite a client. The message is a predicate whose subject is the client, with the remedy. */
class ByHand extends Error {}

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

const LIBRARY = 'nestjs-resilient-grpc';
const NEST = '@nestjs/microservices';
const MODULE = 'ResilientGrpcModule';
/** Maximum length, in characters, of the text that identifies a client without a name. */
const MAX_LABEL_LENGTH = 40;

export interface Remark {
  readonly path: string;
  readonly line: number;
  readonly text: string;
}

export interface Migration {
  readonly changed: readonly { readonly path: string; readonly text: string }[];
  /** Clients that move to `ResilientGrpcModule`. */
  readonly moved: readonly Remark[];
  /** Places that a person must change, each with what to do. */
  readonly manual: readonly Remark[];
  /** A package whose types cannot be found; nothing is compiled without them. */
  readonly missing?: string | undefined;
}

/** A change to a call of `ClientsModule`, or to its name in the exports of a module. */
interface Change extends Remark {
  readonly edits: readonly TextEdit[];
}

/**
 * Moves the gRPC clients in `paths`, which share their nearest tsconfig.json, to `ResilientGrpcModule`. A registration that would cause a
 * new compiler error stays.
 */
export function migrate(tsConfigFilePath: string, paths: readonly string[]): Migration {
  const project = new Project({ tsConfigFilePath, skipAddingFilesFromTsConfig: true });
  const options = project.compilerOptions.get();
  const isFound = (name: string) => ts.resolveModuleName(name, tsConfigFilePath, options, ts.sys).resolvedModule;
  const missing = [NEST, LIBRARY].find((name) => isFound(name) === undefined);
  if (missing !== undefined) return { changed: [], moved: [], manual: [], missing };
  const changed: Migration['changed'][number][] = [];
  const moved: Remark[] = [];
  const manual: Remark[] = [];
  // All positions are read before the first file changes.
  const files = paths.map((path) => project.addSourceFileAtPath(path));
  for (const { file, calls, others, steps, exports } of files.map((file) => ({
    file,
    ...readCalls(file),
    exports: exportsOf(file),
  }))) {
    const compiled = new CompiledFile(file);
    let stays = others;
    manual.push(...steps);
    // A compilation takes about a second, so the calls are compiled one by one only if they do not compile together.
    const isAccepted = calls.length > 1 && compiled.accept(calls.flatMap(({ edits }) => edits)) === undefined;
    for (const call of calls) {
      const problem = isAccepted ? undefined : compiled.accept(call.edits);
      if (problem === undefined) moved.push(call);
      else {
        stays = true;
        manual.push({ ...call, text: `${call.text}: would not compile with ${MODULE}: ${problem}` });
      }
    }
    // A module whose clients are registered elsewhere, or only partly moved, may still need ClientsModule.
    const isWhole = compiled.isChanged && !stays;
    const isUnaffected = stays && !compiled.isChanged;
    for (const one of exports)
      if (!isUnaffected && (!isWhole || compiled.accept(one.edits) !== undefined)) manual.push(one);
    if (compiled.isChanged) changed.push(compiled.result);
  }
  return { changed, moved, manual };
}

function remark(node: Node, text: string): Remark {
  return { path: node.getSourceFile().getFilePath(), line: node.getStartLineNumber(), text };
}

class CompiledFile {
  private readonly original: string;
  private readonly names: ReadonlySet<string>;
  private readonly problems: ReadonlySet<string>;
  private readonly accepted: TextEdit[] = [];

  constructor(private readonly file: SourceFile) {
    this.original = file.getFullText();
    this.names = usedNames(file);
    this.problems = new Set(problemsOf(file));
  }

  /** Adds edits to the changes; if they cause a compiler error, omits them and returns the error. */
  accept(edits: readonly TextEdit[]): string | undefined {
    const problem = this.apply([...this.accepted, ...edits]);
    if (problem === undefined) this.accepted.push(...edits);
    else this.apply(this.accepted);
    return problem;
  }

  get isChanged(): boolean {
    return this.accepted.length > 0;
  }

  /** Applies edits to the original, and returns the first compiler error that they cause. */
  private apply(edits: readonly TextEdit[]): string | undefined {
    let text = this.original;
    for (const edit of edits.toSorted((a, b) => b.start - a.start))
      text = text.slice(0, edit.start) + edit.text + text.slice(edit.end);
    this.file.replaceWithText(text);
    correctImports(this.file, this.names);
    return problemsOf(this.file)
      .find((problem) => !this.problems.has(problem))
      ?.split('\n')[0];
  }

  get result(): Migration['changed'][number] {
    const text = this.file.getFullText();
    const isWindows = this.original.includes('\r\n');
    return { path: this.file.getFilePath(), text: isWindows ? text.replaceAll(/\r?\n/g, '\r\n') : text };
  }
}

function problemsOf(file: SourceFile): readonly string[] {
  const errors = file.getPreEmitDiagnostics().filter((one) => one.getCategory() === ts.DiagnosticCategory.Error);
  return errors.map(({ compilerObject }) => ts.flattenDiagnosticMessageText(compilerObject.messageText, '\n'));
}

/** Finds the calls that register gRPC clients, and the places that create gRPC clients in other ways. */
function readCalls(file: SourceFile) {
  const calls: Change[] = [];
  const steps: Remark[] = [];
  /** True if a call of `ClientsModule` stays. */
  let others = false;
  for (const call of file.getDescendantsOfKind(SyntaxKind.CallExpression)) {
    const callee = call.getExpression();
    const [owner, method] = Node.isPropertyAccessExpression(callee)
      ? [nestNameOf(callee.getExpression()), callee.getName()]
      : [];
    const [options] = call.getArguments();
    const isOther = options !== undefined && transportOf(options) === 'other';
    if (Node.isDecorator(call.getParent()) && nestNameOf(callee) === 'Client' && !isOther) {
      const remedy = `define the client with ${MODULE}.forFeature() in the module, and inject it with @Inject('<name>')`;
      steps.push(remark(call, `@Client(): ${remedy}`));
    } else if (owner === 'ClientProxyFactory' && method === 'create' && !isOther) {
      const remedy = `define the client with ${MODULE}.forFeature(), or inject GrpcClients and call create()`;
      steps.push(remark(call, `ClientProxyFactory.create(): ${remedy}`));
    } else if (owner === 'ClientsModule' && (method === 'register' || method === 'registerAsync')) {
      try {
        const changes = changesOf(call, method === 'registerAsync');
        calls.push(...changes);
        others ||= changes.length === 0;
      } catch (error) {
        if (!(error instanceof ByHand)) throw error;
        steps.push(remark(call, error.message));
        others = true;
      }
    }
  }
  return { calls, steps, others };
}

/** Returns the change of a call with gRPC clients; nothing if all its clients use other transports. @throws ByHand */
function changesOf(call: CallExpression, isAsync: boolean): readonly Change[] {
  const [argument] = call.getArguments();
  const object = Node.isObjectLiteralExpression(argument) ? argument : undefined;
  const property = object?.getProperty('clients');
  const list = object === undefined ? argument : property && propertyValue(property);
  const clients = list && elementsOf(list);
  if (list === undefined || clients === undefined)
    throw new ByHand(`the list of clients is known only at run time; call ${MODULE} with the gRPC clients`);
  const found = clients.map((client) => ({
    client,
    transport: isAsync ? asyncTransportOf(client) : transportOf(client),
  }));
  const labels = (transport: string) =>
    found.flatMap((one) => (one.transport === transport ? labelOf(one.client) : [])).join(', ');
  const [grpc, other, unknown] = [labels('grpc'), labels('other'), labels('unknown')];
  const name = `${MODULE}.${isAsync ? 'forFeatureAsync' : 'forFeature'}`;
  if (unknown !== '')
    throw new ByHand(`${unknown}: the transport is known only at run time; if it is gRPC, move the entry to ${name}()`);
  if (grpc === '') return [];
  if (other !== '')
    throw new ByHand(`${grpc}: shares the call with other transports (${other}); move the entry to ${name}()`);
  const callee = call.getExpression();
  const edits: TextEdit[] = [{ start: callee.getStart(), end: callee.getEnd(), text: name }];
  if (object !== undefined) edits.push(...unwrapping(object, list));
  if (isAsync) for (const client of clients) edits.push(...factoryEdits(client, call, grpc));
  return [{ ...remark(call, grpc), edits }];
}

/** Returns the edits that turn `{ isGlobal: true, clients: [] }` into `[], { isGlobal: true }`. */
function unwrapping(object: ObjectLiteralExpression, list: Node): TextEdit[] {
  const others = object.getProperties().filter((one) => one !== list.getParent());
  const source = object.getSourceFile().getFullText();
  const removed = [
    [object.getStart(), list.getStart()],
    [list.getEnd(), object.getEnd()],
  ] as const;
  if (removed.some(([start, end]) => /\/[/*]/.test(source.slice(start, end))))
    throw new ByHand(
      'comments beside `clients`, which a rewrite would lose; write forFeature([…], { isGlobal: true })',
    );
  const extras = others.length === 0 ? '' : `, { ${others.map((one) => one.getText()).join(', ')} }`;
  return removed.map(([start, end], index) => ({ start, end, text: index === 0 ? '' : extras }));
}

/** Returns the elements of an array and of the constant arrays that it spreads; `undefined` if they are known only at run time. */
function elementsOf(list: Node): readonly Node[] | undefined {
  const array = constantValue(list);
  if (!Node.isArrayLiteralExpression(array)) return undefined;
  const elements = array
    .getElements()
    .map((one) => (Node.isSpreadElement(one) ? elementsOf(one.getExpression()) : [one]));
  return elements.includes(undefined) ? undefined : elements.flatMap((one) => one ?? []);
}

function labelOf(client: Node): string {
  const own = Node.isObjectLiteralExpression(client) ? client.getProperty('name') : undefined;
  const name = own && !Node.isSpreadAssignment(own) ? propertyValue(own) : valueOf(client, 'name');
  const value = name && constantValue(name);
  const text = Node.isStringLiteral(value) ? value.getLiteralText() : (name ?? client).getText().replace(/\s+/g, ' ');
  return text.length > MAX_LABEL_LENGTH ? `${text.slice(0, MAX_LABEL_LENGTH - 1)}…` : text;
}

function exportsOf(file: SourceFile): readonly Change[] {
  return file.getDescendantsOfKind(SyntaxKind.Identifier).flatMap((identifier) => {
    const property = identifier.getParent().getParent();
    if (!Node.isArrayLiteralExpression(identifier.getParent()) || !Node.isPropertyAssignment(property)) return [];
    if (property.getName() !== 'exports' || nestNameOf(identifier) !== 'ClientsModule') return [];
    const text = `exports ClientsModule: if its clients moved, export ${MODULE}`;
    return [
      {
        ...remark(identifier, text),
        edits: [{ start: identifier.getStart(), end: identifier.getEnd(), text: MODULE }],
      },
    ];
  });
}

/** Imports `ResilientGrpcModule` if the file uses it, and removes the names that were imported from Nest for the replaced code only. */
function correctImports(file: SourceFile, namesBefore: ReadonlySet<string>): void {
  const used = usedNames(file);
  const declarations = file.getImportDeclarations();
  const nest = declarations.filter((one) => one.getModuleSpecifierValue() === NEST);
  const library = declarations.find((one) => one.getModuleSpecifierValue() === LIBRARY && !one.isTypeOnly());
  const isImported = library?.getNamedImports().some((one) => one.getName() === MODULE) === true;
  let isMissing = used.has(MODULE) && !isImported;
  if (isMissing && library !== undefined) library.addNamedImport(MODULE);
  isMissing &&= library === undefined;
  for (const declaration of nest) {
    const names = declaration.getNamedImports();
    const unused = names.filter((one) => {
      const name = one.getAliasNode()?.getText() ?? one.getName();
      return namesBefore.has(name) && !used.has(name);
    });
    const isWhole = unused.length > 0 && unused.length === names.length && declaration.getDefaultImport() === undefined;
    if (isWhole && isMissing) declaration.setModuleSpecifier(LIBRARY).removeNamedImports().addNamedImport(MODULE);
    else if (isWhole) file.removeText(declaration.getStart(), declaration.getEnd());
    else for (const one of unused) one.remove();
    isMissing &&= !isWhole;
  }
  const last = nest.at(-1) ?? declarations.at(-1);
  if (!isMissing || last === undefined) return;
  const end = last.getTrailingCommentRanges().at(-1)?.getEnd() ?? last.getEnd();
  const quote = last.getModuleSpecifier().getText().slice(0, 1);
  file.insertText(end, `\nimport { ${MODULE} } from ${quote}${LIBRARY}${quote};`);
}

function usedNames(file: SourceFile): ReadonlySet<string> {
  const identifiers = file.getDescendantsOfKind(SyntaxKind.Identifier);
  return new Set(
    identifiers
      .filter((one) => one.getFirstAncestor(Node.isImportDeclaration) === undefined)
      .map((one) => one.getText()),
  );
}

/** Returns the transport of a client with a factory; 'grpc' if it is unknown, because `factoryEdits` then explains what to do. */
function asyncTransportOf(client: Node): ReturnType<typeof transportOf> {
  const result = resultOf(factoryOf(client));
  return result === undefined || transportOf(result) !== 'other' ? 'grpc' : 'other';
}

/**
 * Returns the edits that move the contract of an async client from the result of its factory to the client, and leave the settings in the
 * result, as forFeatureAsync expects. `stopped` are all clients of the call, which stay if one of them does.
 *
 * @throws ByHand if the factory does anything but return one object literal, or computes the contract
 */
function factoryEdits(client: Node, call: Node, stopped: string): readonly TextEdit[] {
  const name = labelOf(client);
  const byHand = (reason: string) =>
    new ByHand(stopped === name ? `${name}: ${reason}` : `${stopped}: share a call, in which ${name} ${reason}`);
  if (!Node.isObjectLiteralExpression(client) || !client.getAncestors().includes(call))
    throw byHand(`is not written in the call; ${REMEDY}`);
  for (const property of client.getProperties()) {
    const key = Node.isSpreadAssignment(property) ? property.getText() : property.getName();
    if (!KEYS.includes(key)) throw byHand(`has ${key}; ${REMEDIES[key] ?? REMEDY}`);
  }
  const factory = factoryOf(client);
  const result = resultOf(factory);
  const options = result && valueOf(result, 'options');
  const isReadable = result?.getAncestors().some((one) => one === factory) === true && transportOf(result) === 'grpc';
  if (!factory || !isReadable || !Node.isObjectLiteralExpression(options) || result.getProperties().length !== 2)
    throw byHand(`has a factory that does not return one { transport: Transport.GRPC, options: { … } }; ${REMEDY}`);
  const commentsOf = (one: Node) => [...one.getLeadingCommentRanges(), ...one.getTrailingCommentRanges()];
  if (result.getDescendants().some((one) => commentsOf(one).length > 0))
    throw byHand(`has comments in the result of its factory, which a rewrite would lose; ${REMEDY}`);

  const contract: string[] = [];
  const settings = options.getProperty('url') === undefined ? [`url: ${DEFAULT_URL}`] : [];
  for (const property of options.getProperties()) {
    if (Node.isSpreadAssignment(property)) throw byHand(`has ${property.getText()} in its factory; ${REMEDY}`);
    const isContract = CONTRACT.has(property.getName());
    if (isContract && !isFixed(property, factory))
      throw byHand(
        `has a contract that its factory computes (${property.getText()}), but it must not change after the import; ${REMEDY}`,
      );
    if (isContract) contract.push(property.getText());
    else settings.push(property.getName() === 'url' ? urlText(propertyValue(property)) : property.getText());
  }
  const property = client.getPropertyOrThrow('useFactory');
  const start = property.getLeadingCommentRanges()[0]?.getPos() ?? property.getStart();
  const type = factory.getReturnTypeNode();
  const colon = type?.getPreviousSibling();
  return [
    { start, end: start, text: contract.map((text) => `${text}, `).join('') },
    // The declared type is Nest's. TypeScript infers the new one.
    ...(type && colon ? [{ start: colon.getStart(), end: type.getEnd(), text: '' }] : []),
    { start: result.getStart(), end: result.getEnd(), text: `{ ${settings.join(', ')} }` },
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
    const isLocal = declaration?.getAncestors().some((one) => one === factory) === true;
    return (
      node.getText() !== 'process' &&
      (!isLocal || declaration === option || declaration.getAncestors().includes(option))
    );
  });
}

const GRPC = 4;

/** Returns the name under which Nest exports what an expression such as `ClientsModule` or `nest.ClientsModule` refers to. */
function nestNameOf(expression: Node): string | undefined {
  const name = Node.isPropertyAccessExpression(expression) ? expression.getNameNode() : expression;
  const symbol = name.getSymbol()?.getAliasedSymbol() ?? name.getSymbol();
  const isNest = symbol
    ?.getDeclarations()
    .some((one) => one.getSourceFile().getFilePath().includes('/@nestjs/microservices/'));
  return isNest === true ? symbol?.getName() : undefined;
}

/** Returns an expression without parentheses and type assertions; for a `const`, even an imported one, its value. */
function constantValue(expression: Node): Node {
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
function valueOf(object: Node, name: string): Node | undefined {
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
function propertyValue(property: ReturnType<ObjectLiteralExpression['getProperties']>[number]): Node | undefined {
  if (Node.isShorthandPropertyAssignment(property)) return property.getNameNode();
  return Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
}

function transportOf(client: Node): 'grpc' | 'other' | 'unknown' {
  const type = client.getType();
  const property = type.getProperty('transport');
  const found = valueOf(client, 'transport')?.getType() ?? property?.getTypeAtLocation(client).getNonNullableType();
  if (found?.isLiteral() === true && !found.isUnion()) return found.getLiteralValue() === GRPC ? 'grpc' : 'other';
  // Nest uses TCP if no transport is given. A class of the application may extend Nest's gRPC client.
  const isTcp = (one: Type) => one.isObject() && !one.getProperty('transport') && !one.getProperty('customClass');
  return (type.isUnion() ? type.getUnionTypes() : [type]).every(isTcp) ? 'other' : 'unknown';
}
