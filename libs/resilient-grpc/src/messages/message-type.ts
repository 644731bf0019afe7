import { fromJSON, type ServiceDefinition } from '@grpc/proto-loader';
import { misspelled } from '../errors/closest.js';
import { contractOf, type Contract, type Descriptor, type Files } from './file-descriptors.js';

/** A message type, with the field names that the serializer reads: in camel case, or unchanged if the loader option `keepCase` is set. */
export class MessageType {
  /** Name without its package. */
  readonly name: string;
  /** Names of oneofs. With the loader option `oneofs`, a deserialized message has them as keys, which the serializer ignores. */
  readonly oneofs: readonly string[];
  /** True if the serializer leaves the values of this type to a conversion of the application; see `isConvertedByApplication()`. */
  readonly isOpaque: boolean;
  /** True if the serializer sends all values of `message` as they are. Compiled on first use by `prepareFits()`. */
  fits: ((message: unknown, depth: number) => boolean) | undefined;
  private knownFields: ReadonlyMap<string, Field> | undefined;
  private numbered: ReadonlyMap<number, Field> | undefined;
  /** Unknown keys of messages, each with the field that it misspells. */
  private readonly unknownKeys = new Map<string, string | undefined>();

  constructor(
    readonly fullName: string,
    private readonly descriptor: Descriptor,
    private readonly contract: Contract,
  ) {
    this.name = descriptor.text(1);
    this.oneofs = descriptor.children(8).map((oneof) => oneof.text(1));
    this.isOpaque = fullName === `${WELL_KNOWN}${this.name}` && isConvertedByApplication(this.name);
  }

  /** Fields by name. Read on first use, because types can contain themselves. */
  get fields(): ReadonlyMap<string, Field> {
    return (this.knownFields ??= new Map(
      this.descriptor.children(2).map((field) => [field.text(1), this.fieldOf(field)]),
    ));
  }

  /** Returns the field with `number`; `undefined` if the type has none. */
  fieldNumbered(number: number): Field | undefined {
    this.numbered ??= new Map([...this.fields.values()].map((field) => [field.number, field]));
    return this.numbered.get(number);
  }

  /** Returns the type that the '@type' of an Any names, with or without its package; `undefined` if the contract does not contain it. */
  typeInAny(url: string): MessageType | undefined {
    const { types } = this.contract;
    const name = url.slice(url.lastIndexOf('/') + 1);
    const full = types.has(name) ? name : [...types.keys()].find((one) => one.endsWith(`.${name}`));
    const type = full === undefined ? undefined : types.get(full);
    return full === undefined || type === undefined ? undefined : typeNamed(full, type, this.contract);
  }

  /** Returns the field that the unknown `key` misspells; `undefined` if it is probably another name. */
  misspelledField(key: string): string | undefined {
    const { unknownKeys } = this;
    if (!unknownKeys.has(key)) {
      if (unknownKeys.size >= MAX_UNKNOWN_KEYS) return undefined;
      unknownKeys.set(key, this.isUnknownField(key) ? misspelled(key, this.fields.keys()) : undefined);
    }
    return unknownKeys.get(key);
  }

  /** True if `key` could be the name of a field, but the type has no such field. False for other generators' names, such as `$typeName`. */
  isUnknownField(key: string): boolean {
    return !this.fields.has(key) && !this.oneofs.includes(key) && /^[a-z]\w*$/i.test(key);
  }

  private fieldOf(descriptor: Descriptor): Field {
    const { fullName, contract } = this;
    const number = descriptor.integer(3);
    if (descriptor.integer(4) !== LABEL_REPEATED) {
      const oneof = descriptor.has(9) ? { oneof: descriptor.integer(9) } : {};
      return { number, holds: 'single', ...oneof, ...this.values(descriptor, fullName) };
    }
    const entry = contract.types.get(`${fullName}.${descriptor.text(6)}`);
    const isMap = entry?.children(7)[0]?.integer(7) === 1;
    if (!isMap) return { number, holds: 'list', ...this.values(descriptor, fullName) };
    const [keys, values] = [1, 2].map((part) => entry.children(2).find((field) => field.integer(3) === part));
    // protobufjs writes the type of a map value relative to the parent of the message.
    const scope = parentOf(fullName);
    return { number, holds: 'map', keys: this.values(keys, scope), ...this.values(values, scope) };
  }

  private values(descriptor: Descriptor | undefined, scope: string): FieldValues {
    const number = descriptor?.integer(5) ?? 0;
    const kind = KINDS[number] ?? 'other';
    if (kind === 'integer' || kind === 'long') return { kind, unsigned: UNSIGNED.includes(number) };
    if (kind !== 'message' && kind !== 'enum') return { kind };
    const name = resolve(descriptor?.text(6) ?? '', scope, this.contract);
    const type = name === undefined ? undefined : this.contract.types.get(name);
    if (name === undefined || type === undefined) return { kind: 'other' };
    if (kind === 'message') return { kind, type: typeNamed(name, type, this.contract) };
    return { kind, name: type.text(1), values: new Set(type.children(2).map((value) => value.text(1))) };
  }
}

/** A field of a message type: a single value, a list (`repeated`), or a map. `oneof` is the index of its oneof. */
export type Field = { readonly number: number; readonly oneof?: number } & FieldValues &
  ({ readonly holds: 'single' | 'list' } | { readonly holds: 'map'; readonly keys: FieldValues });

/** The values of a field; 'long' for 64-bit integers, 'other' for groups and for types that are not found. */
export type FieldValues =
  | { readonly kind: 'string' | 'float' | 'double' | 'boolean' | 'bytes' | 'other' }
  | { readonly kind: 'integer' | 'long'; readonly unsigned: boolean }
  | { readonly kind: 'message'; readonly type: MessageType }
  | { readonly kind: 'enum'; readonly name: string; readonly values: ReadonlySet<string> };

/** Maximum number of unknown keys examined per message type. Each is compared with the field names once. */
const MAX_UNKNOWN_KEYS = 100;
const LABEL_REPEATED = 3;

/** Numbers of the unsigned integers in `FieldDescriptorProto.Type`. */
const UNSIGNED: readonly number[] = [4, 6, 7, 13];

/** Kinds by number in `FieldDescriptorProto.Type`. */
const KINDS: Readonly<Record<number, Field['kind']>> = {
  1: 'double',
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

/** Package of the well-known types. */
const WELL_KNOWN = 'google.protobuf.';

/**
 * True if the application has set a conversion of a well-known type in protobufjs's `wrappers`, as code from ts-proto does for Timestamp
 * (`useDate=true`) and Struct. Such a conversion expects the value that the application passes. Only a conversion reads a value of a type
 * without fields; protobufjs looks for it when it first uses a type. Any has protobufjs's own conversion.
 */
function isConvertedByApplication(name: string): boolean {
  if (name === 'Any') return false;
  let isRead = false;
  const read = (): undefined => {
    isRead = true;
  };
  const value = new Proxy({}, { get: read, has: () => (isRead = true), ownKeys: () => ((isRead = true), []) });
  const convert = { requestType: name, responseType: name, comment: '' };
  const types = { [name]: { fields: {} }, Probe: { methods: { Convert: convert } } };
  try {
    const definition = fromJSON({ nested: { google: { nested: { protobuf: { nested: types } } } } });
    // Safe cast: the name is that of the service.
    (definition[`${WELL_KNOWN}Probe`] as ServiceDefinition)['Convert']?.requestSerialize(value);
  } catch {
    // The conversion has rejected the value.
  }
  return isRead;
}

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

export function messageTypeOf(path: string, files: Files, direction: 'request' | 'response'): MessageType | undefined {
  const contract = contractOf(files);
  const name = contract.methods
    .get(path)
    ?.text(direction === 'request' ? 2 : 3)
    .slice(1);
  const type = name === undefined ? undefined : contract.types.get(name);
  return name === undefined || type === undefined ? undefined : typeNamed(name, type, contract);
}

/** True if an unknown key with `value` is not a mistake. */
export function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || typeof value === 'function';
}
