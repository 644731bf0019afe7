import type { ServiceDefinition, UntypedServiceImplementation } from '@grpc/grpc-js';
import type { PackageDefinition, Options } from '@grpc/proto-loader';
import type * as Reflection from '@grpc/reflection';
import { HEALTH_SERVICE, healthContract } from '../client/health-contract.js';
import { pathOf } from '../policy/options/describe-value.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { WireCall } from './calls/wire-call.js';
import { createRequire, requireFor } from './proto-loader.js';
import { addStandardService, type ServiceHost, type ServiceStreams } from './health/service-streams.js';
import { isError } from '../errors/error-message.js';
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { packageOf } from '../client/settings/contract.js';

export interface ReflectionInput {
  readonly definition: PackageDefinition;
  /** Files that `definition` was loaded from; `undefined` if they are unknown. */
  readonly files?: ProtoFiles | undefined;
  /** Full names of the listed services. */
  readonly services: readonly string[];
  /** True if this library provides the health service, which is then included. */
  readonly health: boolean;
  readonly serviceStreams: ServiceStreams;
  /** Path of the options in configuration problems, such as 'ResilientGrpcServerModule.forRoot'. */
  readonly path: string;
}

/**
 * Adds the reflection service (v1 and v1alpha) of the package `@grpc/reflection`, except the versions that the application already
 * provides. Call it after the application's services have been added.
 *
 * @param places URLs or paths from which the package is resolved
 * @throws GrpcConfigurationError if the package is not installed, or if the definition contains no file descriptors
 */
export function addReflection(server: ServiceHost, input: ReflectionInput, places?: readonly string[]): void {
  const path = pathOf(input.path, 'reflection');
  const { ReflectionService, protobuf } = reflectionPackage(places, path);
  if (!Object.values(input.definition).some(isDescribed)) {
    const message =
      "expected a packageDefinition with file descriptors, got one without them; write protoPath, or use proto-loader's loadSync()";
    throw new GrpcConfigurationError([{ path, message }]);
  }
  const files = reflectedFiles(protobuf, input.definition, input.files);
  if (input.health && !(HEALTH_SERVICE in input.definition)) files.push(...reflectedFiles(protobuf, healthContract()));
  const services = input.health ? [...input.services, HEALTH_SERVICE] : [...input.services];
  // The cast is safe: the package reads only these properties.
  const described = { files: { fileDescriptorProtos: files } } as unknown as PackageDefinition;
  const reflection = new ReflectionService(described, { services });
  reflection.addToServer({
    addService: (service: ServiceDefinition, implementation: UntypedServiceImplementation) => {
      addStandardService(server, service, trackStreams(implementation, input.serviceStreams));
    },
  });
}

/** Loads the optional package. @throws GrpcConfigurationError if it is not installed */
function reflectionPackage(
  places: readonly string[] | undefined,
  path: string,
): typeof Reflection & { readonly protobuf: Protobuf } {
  try {
    const require = requireFor('@grpc/reflection', places);
    const requireBeside = createRequire(require.resolve('@grpc/reflection'));
    // The casts are safe: these are the main modules of the packages. The second module assigns `descriptor` to the first.
    const protobuf = requireBeside('protobufjs') as Protobuf;
    requireBeside('protobufjs/ext/descriptor');
    return { ...(require('@grpc/reflection') as typeof Reflection), protobuf };
  } catch (error) {
    const missing = isError(error) && 'code' in error && error.code === 'MODULE_NOT_FOUND';
    if (!missing || !error.message.includes("'@grpc/reflection'")) throw error;
    const message =
      'expected the package @grpc/reflection, but it is not installed; run npm install @grpc/reflection (for a bundled application, next to the bundle)';
    throw new GrpcConfigurationError([{ path, message }]);
  }
}

function isDescribed(entry: PackageDefinition[string]): boolean {
  return 'fileDescriptorProtos' in entry && Array.isArray(entry.fileDescriptorProtos);
}

function trackStreams(
  implementation: UntypedServiceImplementation,
  serviceStreams: ServiceStreams,
): UntypedServiceImplementation {
  const wrapped = Object.entries(implementation).map(([name, handler]) => {
    // The cast is safe: the only method of the service is bidirectional.
    const serve = handler as unknown as (call: WireCall) => void;
    const trackedHandler = (call: WireCall) => {
      if (serviceStreams.begin(call)) serve(call);
    };
    return [name, trackedHandler] as const;
  });
  return Object.fromEntries(wrapped);
}

/** The part of protobufjs that loads .proto files and codes descriptors. */
export interface Protobuf {
  readonly Root: new () => ProtoRoot;
  /** Google's well-known files by name, which protobufjs does not read from the disk. */
  readonly common: Readonly<
    Record<string, { readonly nested?: { readonly google: Nested<{ readonly protobuf: Nested<object> }> } }>
  >;
  readonly descriptor: {
    readonly FileDescriptorProto: {
      decode(bytes: Uint8Array): object;
      toObject(message: object, options: { readonly arrays: true }): FileDescriptor;
      encode(file: object): { finish(): Uint8Array };
    };
  };
}

interface Nested<T> {
  readonly nested: T;
}

/** A namespace of protobufjs, or a declaration in it. */
interface ProtoObject {
  /** Name with a leading dot. */
  readonly fullName: string;
  readonly filename: string | null;
  readonly nestedArray?: readonly ProtoObject[];
  /** Returns 'proto2', an edition, or nothing for proto3 and in old versions of protobufjs, as `edition`. */
  toJSON(): { readonly edition?: string };
}

interface ProtoRoot extends ProtoObject {
  resolvePath: (origin: string, target: string) => string | null;
  loadSync(files: string | readonly string[], options: Options): unknown;
  toDescriptor(syntax: string): { readonly file: readonly object[] };
}

const KINDS = ['messageType', 'enumType', 'service', 'extension'] as const;

interface FileDescriptor extends Readonly<Record<(typeof KINDS)[number], Descriptor[]>> {
  readonly package?: string;
  readonly syntax?: string;
}

const REFERENCES = ['typeName', 'extendee', 'inputType', 'outputType'] as const;
const CHILDREN = ['field', 'nestedType', 'enumType', 'method', 'extension', 'oneofDecl'] as const;

/** The properties of all descriptors that are read or corrected here. */
interface Descriptor
  extends
    Partial<Record<(typeof REFERENCES)[number], string>>,
    Partial<Record<(typeof CHILDREN)[number], Descriptor[]>> {
  name: string;
  readonly extensionRange?: { readonly start: number; end: number }[];
  readonly options?: { mapEntry?: boolean };
  oneofIndex?: number;
  proto3Optional?: boolean;
}

/** The file of a declaration, and the syntax of the file. */
interface Origin {
  readonly name: string;
  readonly syntax: string;
}

export interface ProtoFiles {
  readonly protoPath: string | readonly string[];
  readonly loader?: Options | undefined;
}

/**
 * Returns the descriptors of `files` and their imports, with the names, imports, and field names that proto-loader's descriptors lack. Without
 * `files`, returns those of `definition`, in which each package is one file.
 */
function reflectedFiles(protobuf: Protobuf, definition: PackageDefinition, files?: ProtoFiles): Buffer[] {
  const { FileDescriptorProto } = protobuf.descriptor;
  const isLoaded = files !== undefined;
  const origins = wellKnownOrigins(protobuf.common);
  const source = isLoaded
    ? loadedFiles(new protobuf.Root(), files, origins)
    : definedFiles(definition).map((bytes) => FileDescriptorProto.decode(bytes));
  const described = new Map<string, FileDescriptor & { readonly dependency: Set<string> }>();
  /** File names by the full names of types. */
  const symbols = new Map<string, string>();
  const addSymbols = ({ nestedType = [], enumType = [] }: Descriptor, name: string, file: string): void => {
    symbols.set(name, file);
    for (const type of [...nestedType, ...enumType]) addSymbols(type, inScope(name, type.name), file);
  };
  for (const message of source) {
    const { package: scope = '', syntax, ...declarations } = FileDescriptorProto.toObject(message, { arrays: true });
    for (const kind of KINDS) {
      for (const declaration of declarations[kind]) {
        const name = inScope(scope, declaration.name);
        const origin = origins.get(name) ?? { name: packageFile(scope), syntax: 'proto3' };
        if (symbols.has(name) || (isLoaded && origin.syntax !== syntax)) continue;
        correct(declaration, scope === 'google.protobuf', isLoaded);
        const empty = { messageType: [], enumType: [], service: [], extension: [] };
        const file = described.get(origin.name) ?? { ...origin, package: scope, dependency: new Set(), ...empty };
        file[kind].push(declaration);
        described.set(origin.name, file);
        addSymbols(declaration, name, origin.name);
      }
    }
  }
  const link = (descriptor: Descriptor, scope: string, dependency: Set<string>): void => {
    for (const key of REFERENCES) {
      const name = descriptor[key] && resolveType(descriptor[key], scope, symbols);
      if (!name) continue;
      descriptor[key] = `.${name}`;
      dependency.add(symbols.get(name) ?? '');
    }
    const children = CHILDREN.flatMap((key) => descriptor[key] ?? []);
    for (const child of children) link(child, inScope(scope, descriptor.name), dependency);
  };
  return [...described].map(([name, { dependency, package: scope = '', ...file }]) => {
    for (const declaration of KINDS.flatMap((kind) => file[kind])) link(declaration, scope, dependency);
    dependency.delete(name);
    const complete = { ...file, package: scope, dependency: [...dependency] };
    return Buffer.from(FileDescriptorProto.encode(complete).finish());
  });
}

/** Corrects a descriptor that protobufjs created. */
function correct(descriptor: Descriptor, isWellKnown: boolean, isLoaded: boolean): void {
  const { field = [], nestedType = [], extension = [], extensionRange = [], oneofDecl = [], options } = descriptor;
  // protobufjs lists extensions as fields, both in the message that declares them and, with a dot, in the extended message.
  extension.push(...field.filter(({ extendee }) => extendee));
  const fields = field.filter(({ name, extendee }) => !extendee && !name.startsWith('.'));
  // protobufjs contains the well-known files with camelCase names.
  if (isWellKnown)
    for (const each of fields) each.name = each.name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  // A range ends before `end`, but protobufjs sets it to the last number that it read from a .proto file.
  for (const range of extensionRange) if (isLoaded || range.end <= range.start) range.end += 1;
  // protobufjs marks a message with map fields as a map entry after it has read a descriptor.
  if (options?.mapEntry && fields[0]?.name !== 'key') delete options.mapEntry;
  for (const entry of nestedType) {
    correct(entry, isWellKnown, isLoaded);
    const map = fields.find(({ name, typeName }) => typeName === entry.name && capital(name) === entry.name);
    if (map && entry.options?.mapEntry) map.typeName = entry.name = `${map.name.split('_').map(capital).join('')}Entry`;
  }
  // The oneof of an optional proto3 field must follow all other oneofs.
  const optional = oneofDecl.map(({ name }, index) => {
    const members = fields.filter(({ oneofIndex }) => oneofIndex === index);
    return members.length === 1 && name === `_${members[0]?.name ?? ''}`;
  });
  const order = [...oneofDecl.keys()].sort((a, b) => Number(optional[a]) - Number(optional[b]));
  for (const each of fields) {
    if (each.oneofIndex === undefined) continue;
    if (optional[each.oneofIndex]) each.proto3Optional = true;
    each.oneofIndex = order.indexOf(each.oneofIndex);
  }
  const oneofs = order.map((index) => oneofDecl[index]);
  Object.assign(descriptor, { field: fields, oneofDecl: oneofs, reservedRange: [] });
}

/** Returns the full name of the type that `name` denotes in `scope`; `undefined` if it is unknown. */
function resolveType(name: string, scope: string, symbols: ReadonlyMap<string, string>): string | undefined {
  const found = name.startsWith('.') ? name.slice(1) : inScope(scope, name);
  if (symbols.has(found)) return found;
  return scope === '' ? undefined : resolveType(name, packageOf(scope), symbols);
}

function wellKnownOrigins(common: Protobuf['common']): Map<string, Origin> {
  const origins = new Map<string, Origin>();
  for (const [name, { nested }] of Object.entries(common)) {
    const syntax = name.endsWith('/descriptor.proto') ? 'proto2' : 'proto3';
    for (const type of Object.keys(nested?.google.nested.protobuf.nested ?? {}))
      origins.set(`google.protobuf.${type}`, { name, syntax });
  }
  return origins;
}

/** Returns the descriptors in a definition, which may combine the results of several loads. */
function definedFiles(definition: PackageDefinition): Buffer[] {
  // The cast is needed because the entry of a service has no such property.
  const entries = Object.values(definition) as { readonly fileDescriptorProtos?: Buffer[] }[];
  return [...new Set(entries.flatMap(({ fileDescriptorProtos = [] }) => fileDescriptorProtos))];
}

/** Loads files as proto-loader does, but with their own field names, and adds the origins of their declarations. */
function loadedFiles(root: ProtoRoot, { protoPath, loader }: ProtoFiles, origins: Map<string, Origin>): object[] {
  const folders = (loader?.includeDirs ?? []).map((folder) => resolve(folder));
  const { resolvePath } = root;
  root.resolvePath = (origin, target) => {
    const folder = isAbsolute(target) ? undefined : folders.find((each) => existsSync(join(each, target)));
    return folder === undefined ? resolvePath(origin, target) : join(folder, target);
  };
  root.loadSync(protoPath, { ...loader, keepCase: true });
  const declared = declarationsIn(root);
  const folderOf = (path: string) => folders.find((folder) => path.startsWith(join(folder, sep)));
  const others = declared.map(({ filename }) => resolve(filename ?? '')).filter((path) => folderOf(path) === undefined);
  let common = dirname(others[0] ?? '');
  while (!others.every((path) => path.startsWith(join(common, sep)))) common = dirname(common);
  for (const declaration of declared) {
    const path = resolve(declaration.filename ?? '');
    const name = relative(folderOf(path) ?? common, path).replaceAll(sep, '/');
    const syntax = declaration.toJSON().edition === 'proto2' ? 'proto2' : 'proto3';
    origins.set(declaration.fullName.slice(1), { name, syntax });
  }
  return ['proto3', 'proto2'].flatMap((syntax) => root.toDescriptor(syntax).file);
}

/** Returns the top-level declarations that have a file. */
function declarationsIn(object: ProtoObject): readonly ProtoObject[] {
  return object.filename ? [object] : (object.nestedArray ?? []).flatMap(declarationsIn);
}

/** Returns the usual file name of a package: 'orders/v1/orders.proto' for 'orders.v1'. */
function packageFile(name: string): string {
  const parts = name.split('.').filter(Boolean);
  return `${[...parts, parts.findLast((part) => !/^v\d/.test(part)) ?? 'root'].join('/')}.proto`;
}

function inScope(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`;
}

function capital(name: string): string {
  return name.charAt(0).toUpperCase() + name.slice(1);
}
