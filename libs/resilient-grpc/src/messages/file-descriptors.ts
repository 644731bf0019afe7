import { readFields, type WireField } from '../errors/protobuf-fields.js';

/** The types and methods that one call to proto-loader's `loadSync()` loads. */
export interface Contract {
  /** Descriptors of messages, map entries, and enums, by full name such as 'orders.v1.Order.Status'. */
  readonly types: ReadonlyMap<string, Descriptor>;
  /** Descriptors of methods, by path such as '/orders.v1.Orders/Create'. */
  readonly methods: ReadonlyMap<string, Descriptor>;
}

/** An encoded message, such as those of `google/protobuf/descriptor.proto`. The `number` parameters are the numbers of its fields. */
export class Descriptor {
  private readonly fields: readonly WireField[];

  constructor(bytes: Uint8Array) {
    this.fields = readFields(bytes);
  }

  has(number: number): boolean {
    return this.values(number).length > 0;
  }

  children(number: number): Descriptor[] {
    return this.values(number).map((value) => new Descriptor(value as Uint8Array));
  }

  text(number: number): string {
    return new TextDecoder().decode(this.values(number)[0] as Uint8Array | undefined);
  }

  integer(number: number): number {
    return Number(this.values(number)[0] ?? 0);
  }

  private values(number: number): WireField['value'][] {
    return this.fields.filter((field) => field.number === number).map(({ value }) => value);
  }
}

/** The encoded files of a contract: one array in all definitions that one call of proto-loader's `loadSync()` returns. */
export type Files = readonly Uint8Array[];

/** Returns the files of a method definition; `undefined` if another generator created it. */
export function filesOf(method: object): Files | undefined {
  const { requestType } = method as { readonly requestType?: { readonly fileDescriptorProtos?: unknown } | null };
  const files = requestType?.fileDescriptorProtos;
  // Safe cast: proto-loader documents an array of Buffers.
  return Array.isArray(files) ? (files as Files) : undefined;
}

const contracts = new WeakMap<Files, Contract>();

/** @throws Error if the files are not valid descriptors */
export function contractOf(files: Files): Contract {
  let contract = contracts.get(files);
  if (contract === undefined) contracts.set(files, (contract = read(files)));
  return contract;
}

function read(files: Files): Contract {
  const types = new Map<string, Descriptor>();
  const methods = new Map<string, Descriptor>();
  function addTypes(scope: string, messages: readonly Descriptor[], enums: readonly Descriptor[]): void {
    for (const type of [...messages, ...enums]) types.set(join(scope, type.text(1)), type);
    for (const message of messages) addTypes(join(scope, message.text(1)), message.children(3), message.children(4));
  }
  for (const file of files.map((bytes) => new Descriptor(bytes))) {
    const scope = file.text(2);
    addTypes(scope, file.children(4), file.children(5));
    for (const service of file.children(6))
      for (const method of service.children(2))
        methods.set(`/${join(scope, service.text(1))}/${method.text(1)}`, method);
  }
  return { types, methods };
}

export function join(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`;
}
