import { isPlainObject } from '../policy/options/plain-object.js';
import { contractOf, type Contract, type Descriptor } from './file-descriptors.js';

/** A message type, with the field names that the serializer reads: in camel case, or unchanged if the loader option `keepCase` is set. */
export class MessageType {
  /** Name without its package. */
  readonly name: string;
  /** Names of oneofs. With the loader option `oneofs`, a deserialized message has them as keys, which the serializer ignores. */
  readonly oneofs: ReadonlySet<string>;
  private knownFields: ReadonlyMap<string, Field> | undefined;

  constructor(
    readonly fullName: string,
    private readonly descriptor: Descriptor,
    private readonly contract: Contract,
  ) {
    this.name = descriptor.text(1);
    this.oneofs = new Set(descriptor.children(8).map((oneof) => oneof.text(1)));
  }

  /** Fields by name. Read on first use, because types can contain themselves. */
  get fields(): ReadonlyMap<string, Field> {
    return (this.knownFields ??= new Map(
      this.descriptor.children(2).map((field) => [field.text(1), this.fieldOf(field)]),
    ));
  }

  private fieldOf(descriptor: Descriptor): Field {
    const { fullName, contract } = this;
    if (descriptor.integer(4) !== LABEL_REPEATED) return this.field(descriptor, 'single', fullName);
    const entry = contract.types.get(`${fullName}.${descriptor.text(6)}`);
    const isMap = entry?.children(7)[0]?.integer(7) === 1;
    if (!isMap) return this.field(descriptor, 'list', fullName);
    const value = entry.children(2).find((field) => field.integer(3) === 2);
    // protobufjs writes the type of a map value relative to the parent of the message.
    return value === undefined ? { kind: 'other', holds: 'map' } : this.field(value, 'map', parentOf(fullName));
  }

  private field(descriptor: Descriptor, holds: Field['holds'], scope: string): Field {
    const kind = KINDS[descriptor.integer(5)] ?? 'other';
    if (kind !== 'message' && kind !== 'enum') return { kind, holds };
    const name = resolve(descriptor.text(6), scope, this.contract);
    const type = name === undefined ? undefined : this.contract.types.get(name);
    if (name === undefined || type === undefined) return { kind: 'other', holds };
    if (kind === 'message') return { kind, holds, type: typeNamed(name, type, this.contract) };
    return { kind, holds, name: type.text(1), values: type.children(2).map((value) => value.text(1)) };
  }
}

/** A field of a message type: a single value, a list (`repeated`), or a map. */
export type Field = { readonly holds: 'single' | 'list' | 'map' } & (
  | { readonly kind: ScalarKind | 'other' }
  | { readonly kind: 'message'; readonly type: MessageType }
  | { readonly kind: 'enum'; readonly name: string; readonly values: readonly string[] }
);

/** Kind of a scalar field; 'long' for 64-bit integers. */
export type ScalarKind = 'string' | 'integer' | 'long' | 'float' | 'boolean' | 'bytes';

const LABEL_REPEATED = 3;

/** Kinds by number in `FieldDescriptorProto.Type`. Groups are not checked. */
const KINDS: Readonly<Record<number, Field['kind']>> = {
  1: 'float',
  2: 'float',
  3: 'long',
  4: 'long',
  5: 'integer',
  6: 'long',
  7: 'integer',
  8: 'boolean',
  9: 'string',
  11: 'message',
  12: 'bytes',
  13: 'integer',
  14: 'enum',
  15: 'integer',
  16: 'long',
  17: 'integer',
  18: 'long',
};

const typesOfContracts = new WeakMap<Contract, Map<string, MessageType>>();

function typeNamed(name: string, descriptor: Descriptor, contract: Contract): MessageType {
  let types = typesOfContracts.get(contract);
  if (types === undefined) typesOfContracts.set(contract, (types = new Map<string, MessageType>()));
  let type = types.get(name);
  if (type === undefined) types.set(name, (type = new MessageType(name, descriptor, contract)));
  return type;
}

/**
 * Returns the full name of a type that proto-loader's descriptors name relative to `scope`; `undefined` if the name fits no type or several
 * types. Several can fit, because proto-loader omits the prefix that the name shares with `scope`.
 */
function resolve(name: string, scope: string, { types }: Contract): string | undefined {
  const found: string[] = [];
  for (let outer = scope; ; outer = parentOf(outer)) {
    const full = outer === '' ? name : `${outer}.${name}`;
    if (types.has(full)) found.push(full);
    if (outer === '') return found.length === 1 ? found[0] : undefined;
  }
}

function parentOf(fullName: string): string {
  return fullName.slice(0, Math.max(fullName.lastIndexOf('.'), 0));
}

/** Returns the type of the requests or responses of `method`; `undefined` if proto-loader did not create its definition. */
export function messageTypeOf(method: unknown, direction: 'request' | 'response'): MessageType | undefined {
  const { path, [`${direction}Type` as const]: definition } = (method ?? {}) as {
    readonly path?: unknown;
    readonly requestType?: unknown;
    readonly responseType?: unknown;
  };
  const contract = contractOf(definition);
  if (contract === undefined || typeof path !== 'string') return undefined;
  const name = contract.methods
    .get(path)
    ?.text(direction === 'request' ? 2 : 3)
    .slice(1);
  const type = name === undefined ? undefined : contract.types.get(name);
  return name === undefined || type === undefined ? undefined : typeNamed(name, type, contract);
}

/** True if the fields of `message` can be checked. False for a class instance (it may have more properties) and for an Any with '@type'. */
export function isCheckable(message: unknown): message is Readonly<Record<string, unknown>> {
  return isPlainObject(message) && !('@type' in message);
}

/** True if the serializer ignores `value`, as if it were absent. */
export function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || typeof value === 'function';
}

/** True if `key` could be the name of a field, but `type` has no such field. False for other generators' names, such as `$typeName`. */
export function isUnknownField(key: string, type: MessageType): boolean {
  return !type.fields.has(key) && !type.oneofs.has(key) && /^[a-z]\w*$/i.test(key);
}

/** Returns 'a string' for an object in a string field, and 'a number' for a non-numeric value in a number field; otherwise, `undefined`. */
export function expectedScalar(value: unknown, kind: Field['kind']): 'a string' | 'a number' | undefined {
  if (kind === 'string') return typeof value === 'object' ? 'a string' : undefined;
  const isNumber = kind === 'integer' || kind === 'float';
  return isNumber && typeof value !== 'number' && value !== 'NaN' && Number.isNaN(Number(value))
    ? 'a number'
    : undefined;
}
