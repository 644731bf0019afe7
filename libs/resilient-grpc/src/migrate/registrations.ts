import { Node, SyntaxKind, type ArrayLiteralExpression, type CallExpression, type SourceFile } from 'ts-morph';
import {
  rewriteAsyncClient,
  rewriteClient,
  returnedExpression,
  type FileEdit,
  type RewrittenClient,
} from './client-text.js';
import { constantOf, nameOf, propertyOf, transportOf, unwrapped } from './constants.js';
import { afterComma, afterComment, applyEdits, indentAt, reindent, removal, type TextEdit } from './text-edits.js';

export const NEST_PACKAGE = '@nestjs/microservices';

/** Maximum length, in characters, of the text that identifies a client without a name. */
const MAX_LABEL_LENGTH = 40;

/** A change that must be made by hand. */
export interface ManualStep {
  readonly node: Node;
  readonly text: string;
}

/** A client that moves to `ResilientGrpcModule`. */
export interface MovedClient {
  readonly name: string;
  /** Key of the injection token; equal for clients with the same token. */
  readonly token: string;
  readonly node: Node;
  /** The new options. */
  readonly text: string;
}

/** A call to `ClientsModule.register` or `registerAsync` with gRPC clients. */
export interface Registration {
  readonly call: CallExpression;
  /** True if all clients of the call move; false if some stay in `ClientsModule`. */
  readonly isWhole: boolean;
  /** Edits other than those to imports and exports. */
  readonly edits: readonly FileEdit[];
  /** Edits to the types of shared constants. Applied only if the code does not compile without them. */
  readonly retypes: readonly FileEdit[];
  /** The names of the clients and their new options. */
  readonly clients: readonly MovedClient[];
  readonly notes: readonly string[];
}

/** The gRPC clients of a file. */
export interface FileRegistrations {
  readonly registrations: readonly Registration[];
  readonly manual: readonly ManualStep[];
}

/** Finds the gRPC clients of a file, and rewrites those that can be rewritten. */
export function findRegistrations(file: SourceFile): FileRegistrations {
  const registrations: Registration[] = [];
  const manual: ManualStep[] = [];
  for (const call of file.getDescendants().filter(Node.isCallExpression)) {
    const callee = call.getExpression();
    if (Node.isIdentifier(callee) && importedName(callee) === 'Client') manual.push(...decoratorSteps(call));
    if (!Node.isPropertyAccessExpression(callee)) continue;
    const owner = importedName(callee.getExpression());
    const method = callee.getName();
    if (owner === 'ClientProxyFactory' && method === 'create') manual.push(...factorySteps(call));
    if (owner !== 'ClientsModule' || (method !== 'register' && method !== 'registerAsync')) continue;
    const { registration, steps } = rewriteRegistration(call, method === 'registerAsync');
    if (registration !== undefined) registrations.push(registration);
    manual.push(...steps);
  }
  return { registrations, manual };
}

/** Returns the name under which Nest exports the symbol of an identifier; `undefined` if the symbol is not imported from Nest. */
function importedName(node: Node): string | undefined {
  if (Node.isPropertyAccessExpression(node)) {
    const [declaration] = node.getExpression().getSymbol()?.getDeclarations() ?? [];
    return Node.isNamespaceImport(declaration) && isFromNest(declaration) ? node.getName() : undefined;
  }
  const [declaration] = Node.isIdentifier(node) ? (node.getSymbol()?.getDeclarations() ?? []) : [];
  return Node.isImportSpecifier(declaration) && isFromNest(declaration) ? declaration.getName() : undefined;
}

function isFromNest(node: Node): boolean {
  return node.getFirstAncestor(Node.isImportDeclaration)?.getModuleSpecifierValue() === NEST_PACKAGE;
}

function decoratorSteps(call: CallExpression): readonly ManualStep[] {
  const [options] = call.getArguments();
  if (!Node.isDecorator(call.getParent()) || options === undefined || transportOf(options) === 'other') return [];
  const text =
    "@Client(): define the client with ResilientGrpcModule.forFeature() in the module, and inject it with @Inject('<name>')";
  return [{ node: call, text }];
}

function factorySteps(call: CallExpression): readonly ManualStep[] {
  const [options] = call.getArguments();
  if (options === undefined || transportOf(options) === 'other') return [];
  const text =
    'ClientProxyFactory.create(): define the client with ResilientGrpcModule.forFeature(), or inject GrpcClients and call create()';
  return [{ node: call, text }];
}

interface Found {
  readonly registration?: Registration;
  readonly steps: readonly ManualStep[];
}

function rewriteRegistration(call: CallExpression, isAsync: boolean): Found {
  const method = isAsync ? 'registerAsync' : 'register';
  const [argument] = call.getArguments();
  const given = argument === undefined ? undefined : unwrapped(argument);
  const clients = given === undefined ? undefined : clientsOf(given);
  if (argument === undefined || clients === undefined || argument !== given) {
    const text = `${method}(): pass the clients as an array literal, and run migrate again`;
    return { steps: [{ node: call, text }] };
  }
  const steps: ManualStep[] = [];
  const moved: { readonly node: Node; readonly client: RewrittenClient & { readonly ok: true } }[] = [];
  for (const element of clients.getElements()) {
    const transport = isAsync ? asyncTransportOf(element) : transportOf(element);
    if (transport === 'other') continue;
    const name = labelOf(element);
    const isLiteral = Node.isObjectLiteralExpression(element);
    if (transport === 'unknown' || (!isLiteral && (isAsync || propertyOf(element, 'options') === undefined))) {
      const because =
        'the client, or the return value of its factory, is not an object literal with a constant transport; write one';
      steps.push({ node: element, text: `${name}: ${because}` });
      continue;
    }
    const client = isAsync && isLiteral ? rewriteAsyncClient(element) : rewriteClient(element);
    if (client.ok) moved.push({ node: element, client });
    else steps.push({ node: element, text: `${name}: ${client.because}` });
  }
  if (moved.length === 0) return { steps };
  const isWhole = moved.length === clients.getElements().length;
  if (!isWhole && !Node.isArrayLiteralExpression(call.getParent())) {
    const text = `${method}(): register the gRPC clients in a call of their own, and run migrate again`;
    return { steps: [...steps, { node: call, text }] };
  }
  const file = call.getSourceFile();
  const name = isAsync ? 'forFeatureAsync' : 'forFeature';
  const texts = new Map<Node, string>(moved.map(({ node, client }) => [node, client.text]));
  const own = isWhole ? callEdits(call, clients, name, texts) : [splitEdit(call, clients, name, texts)];
  return {
    steps,
    registration: {
      call,
      isWhole,
      edits: own.map((edit) => ({ file, ...edit })),
      retypes: moved.flatMap(({ client }) => client.retypes),
      clients: moved.map(({ node, client }) => ({
        name: labelOf(node),
        token: tokenOf(node),
        node,
        text: client.text,
      })),
      notes: moved.flatMap(({ node, client }) => client.notes.map((note) => `${labelOf(node)}: ${note}`)),
    },
  };
}

/** Returns the array of clients, which is the argument or its property `clients`. */
function clientsOf(argument: Node): ArrayLiteralExpression | undefined {
  if (Node.isArrayLiteralExpression(argument)) return argument;
  if (!Node.isObjectLiteralExpression(argument)) return undefined;
  const property = argument.getProperty('clients');
  const value = Node.isPropertyAssignment(property) ? property.getInitializer() : undefined;
  return Node.isArrayLiteralExpression(value) ? value : undefined;
}

function asyncTransportOf(element: Node): 'grpc' | 'other' | 'unknown' {
  if (!Node.isObjectLiteralExpression(element)) return 'unknown';
  if (element.getProperty('useClass') ?? element.getProperty('useExisting')) return 'grpc';
  const returned = returnedExpression(element);
  return returned === undefined ? 'unknown' : transportOf(returned);
}

/** Returns the name of a client, or the expression that names it. If there is no name, returns the start of the element's source text. */
function labelOf(element: Node): string {
  const name = propertyOf(element, 'name');
  if (name === undefined) {
    const text = element.getText().replace(/\s+/g, ' ');
    return text.length > MAX_LABEL_LENGTH ? `${text.slice(0, MAX_LABEL_LENGTH - 1)}…` : text;
  }
  const literal = name.getType().getLiteralValue();
  return typeof literal === 'string' ? literal : name.getText();
}

function tokenOf(element: Node): string {
  const name = propertyOf(element, 'name');
  const literal = name?.getType().getLiteralValue();
  if (typeof literal === 'string') return JSON.stringify(literal);
  const symbol = name?.getSymbol();
  const [declaration] = (symbol?.getAliasedSymbol() ?? symbol)?.getDeclarations() ?? [];
  const node = declaration ?? element;
  return `${node.getSourceFile().getFilePath()}:${String(node.getPos())}`;
}

/** Returns the edits that rewrite a call in place, so that its layout and comments are preserved. */
function callEdits(
  call: CallExpression,
  clients: ArrayLiteralExpression,
  name: string,
  texts: ReadonlyMap<Node, string>,
): readonly TextEdit[] {
  const source = call.getSourceFile().getFullText();
  const callee = call.getExpression();
  const edits: TextEdit[] = [
    { start: callee.getStart(), end: callee.getEnd(), text: `ResilientGrpcModule.${name}` },
    ...[...texts].map(([node, text]) => ({ start: node.getStart(), end: node.getEnd(), text })),
  ];
  const [argument] = call.getArguments();
  if (argument === undefined || argument === clients) return edits;
  const text = applyEdits(source, edits, clients.getStart(), clients.getEnd());
  const indent = indentAt(source, call.getStart());
  const array = withComments(reindent(text, indentAt(source, clients.getStart()), indent), commentsOf(clients), indent);
  return [
    ...edits.slice(0, 1),
    { start: argument.getStart(), end: argument.getEnd(), text: array + extrasText(argument, clients) },
  ];
}

/** Returns the comments above and beside the property that contains this array. */
function commentsOf(clients: ArrayLiteralExpression): readonly string[] {
  const property = clients.getParentOrThrow();
  const source = property.getSourceFile().getFullText();
  const comma = afterComma(source, property.getEnd());
  const beside = source.slice(comma, afterComment(source, comma)).trim();
  const above = property.getLeadingCommentRanges().map((comment) => comment.getText());
  return beside === '' ? above : [...above, beside];
}

/** Inserts comments at the start of an array, each on its own line. */
function withComments(array: string, comments: readonly string[], indent: string): string {
  if (comments.length === 0) return array;
  const [lines, inner = `${indent}  `] = /^\[[ \t]*\r?\n([ \t]*)/.exec(array) ?? [];
  const text = comments.map((comment) => `\n${inner}${comment}`).join('');
  return `[${text}${lines === undefined ? `\n${inner}` : ''}${array.slice(1)}`;
}

/** Returns the second argument of `forFeature`: the object around the array, without the array. */
function extrasText(argument: Node, clients: ArrayLiteralExpression): string {
  const property = clients.getParentOrThrow();
  const source = argument.getSourceFile().getFullText();
  const others = Node.isObjectLiteralExpression(argument)
    ? argument.getProperties().filter((one) => one !== property)
    : [];
  if (others.length === 0) return '';
  const start = property.getLeadingCommentRanges()[0]?.getPos() ?? property.getStart();
  const edit = removal(source, start, property.getEnd());
  const withLayout = applyEdits(source, [edit], argument.getStart(), argument.getEnd());
  const onOneLine = `{ ${others.map((one) => one.getText()).join(', ')} }`;
  const plain = (text: string) => text.replace(/[\s,]/g, '');
  // If the two texts differ, there are comments between the properties, so the original layout is kept.
  return `, ${plain(withLayout) === plain(onOneLine) ? onOneLine : withLayout}`;
}

/** Returns the edit that splits a call into two: one with the clients that stay, and one with the clients that move. */
function splitEdit(
  call: CallExpression,
  clients: ArrayLiteralExpression,
  name: string,
  texts: ReadonlyMap<Node, string>,
): TextEdit {
  const source = call.getSourceFile().getFullText();
  const without = (isOmitted: (node: Node) => boolean, edits: readonly TextEdit[]) => {
    const removals = clients
      .getElements()
      .filter(isOmitted)
      .map((element) => elementRemoval(source, element));
    const text = applyEdits(source, [...removals, ...edits], clients.getStart(), clients.getEnd());
    return clients.compilerNode.elements.hasTrailingComma ? text : text.replace(/,(\s*)\]$/, '$1]');
  };
  const replaced = [...texts].map(([node, text]) => ({ start: node.getStart(), end: node.getEnd(), text }));
  const stays = { start: clients.getStart(), end: clients.getEnd(), text: without((node) => texts.has(node), []) };
  const moves = without((node) => !texts.has(node), replaced);
  const [argument] = call.getArguments();
  const extras = argument === undefined || argument === clients ? '' : extrasText(argument, clients);
  const parent = call.getParentOrThrow();
  const isOwnLine = source.slice(0, call.getStart()).endsWith(`\n${indentAt(source, call.getStart())}`);
  const separator = isOwnLine && parent.getText().includes('\n') ? `,\n${indentAt(source, call.getStart())}` : ', ';
  const first = applyEdits(source, [stays], call.getStart(), call.getEnd());
  const second = `ResilientGrpcModule.${name}(${moves}${extras})`;
  const start = call.getStart();
  const comma = afterComma(source, call.getEnd());
  const commentEnd = afterComment(source, comma);
  if (commentEnd === comma || !separator.includes('\n'))
    return { start, end: call.getEnd(), text: first + separator + second };
  // The comment stays beside the call that stays.
  const line = separator.replace(',', `,${source.slice(comma, commentEnd)}`);
  return { start, end: commentEnd, text: first + line + second + source.slice(call.getEnd(), comma) };
}

/** Returns the edit that removes an element and its comments. */
function elementRemoval(source: string, element: Node): TextEdit {
  const start = element.getLeadingCommentRanges()[0]?.getPos() ?? element.getStart();
  return removal(source, start, element.getEnd());
}

/**
 * Returns the edits to `exports: [ClientsModule]` in modules whose clients move, and a step for each module whose clients are unknown or in
 * a file outside of `files`.
 */
export function exportEdits(
  file: SourceFile,
  files: readonly SourceFile[],
  moved: readonly Registration[],
): { readonly edits: readonly FileEdit[]; readonly steps: readonly ManualStep[] } {
  const edits: FileEdit[] = [];
  const steps: ManualStep[] = [];
  for (const identifier of file.getDescendants().filter(Node.isIdentifier)) {
    if (importedName(identifier) !== 'ClientsModule') continue;
    const list = identifier.getParent();
    const property = list.getParent();
    if (!Node.isArrayLiteralExpression(list) || !Node.isPropertyAssignment(property)) continue;
    if (nameOf(property.getNameNode()) !== 'exports') continue;
    const imports = property.getParentIfKindOrThrow(SyntaxKind.ObjectLiteralExpression).getProperty('imports');
    const calls = imports === undefined ? [] : callsIn(imports);
    const registered = moved.filter(({ call }) => calls.includes(call));
    if (calls.length === 0 || !calls.every((call) => files.includes(call.getSourceFile()))) {
      const text = 'exports ClientsModule: if its clients moved, export ResilientGrpcModule';
      steps.push({ node: identifier, text });
    }
    if (registered.length === 0) continue;
    const stays = registered.length < calls.length || registered.some(({ isWhole }) => !isWhole);
    const text = stays ? `${identifier.getText()}, ResilientGrpcModule` : 'ResilientGrpcModule';
    edits.push({ file, start: identifier.getStart(), end: identifier.getEnd(), text });
  }
  return { edits, steps };
}

/** Returns the calls to `ClientsModule` in a list of imports, including those in constants. */
function callsIn(imports: Node): readonly CallExpression[] {
  const nodes = [imports, ...imports.getDescendants()];
  const values = nodes.flatMap((node) => constantOf(node)?.getInitializer() ?? []);
  return [
    ...nodes.filter(Node.isCallExpression).filter((call) => {
      const callee = call.getExpression();
      return Node.isPropertyAccessExpression(callee) && importedName(callee.getExpression()) === 'ClientsModule';
    }),
    ...values.flatMap(callsIn),
  ];
}
