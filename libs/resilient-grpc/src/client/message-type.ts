import { describeValue, problemMessage } from '../policy/options/describe-value.js';
import { isPlainObject } from './settings/copy-options.js';

/** The names in a message type, as the serializer reads them: in camel case, or unchanged if the loader option `keepCase` is set. */
export interface MessageType {
  readonly name: string;
  /** Kinds of the fields, by field name. */
  readonly fields: ReadonlyMap<string, FieldKind>;
  /** Names of oneofs. With the loader option `oneofs`, a deserialized message has them as keys, which the serializer ignores. */
  readonly oneofs: ReadonlySet<string>;
}

/** Kind of a field whose values can be checked; 'other' for repeated fields and all other types. */
export type FieldKind = 'string' | 'integer' | 'float' | 'other';

interface Named {
  readonly name: string;
}

interface FieldDescriptor extends Named {
  readonly type: string;
  readonly label: string;
}

/**
 * Returns the message type of `definition`, which is the `requestType` or `responseType` of a method; `undefined` if the definition has no
 * descriptor of proto-loader.
 */
export function messageTypeOf(definition: unknown): MessageType | undefined {
  const { type } = (definition ?? {}) as { readonly type?: unknown };
  // Safe cast: proto-loader converts a DescriptorProto to an object, with all its keys. Other generators have no `type`.
  const descriptor = (type ?? {}) as Named & {
    readonly field?: readonly FieldDescriptor[];
    readonly oneofDecl?: readonly Named[];
  };
  const { name, field, oneofDecl } = descriptor;
  if (!Array.isArray(field) || !Array.isArray(oneofDecl)) return undefined;
  return {
    name,
    fields: new Map((field as readonly FieldDescriptor[]).map((one) => [one.name, kindOf(one)])),
    oneofs: new Set((oneofDecl as readonly Named[]).map((one) => one.name)),
  };
}

function kindOf({ type, label }: FieldDescriptor): FieldKind {
  if (label === 'LABEL_REPEATED') return 'other';
  if (type === 'TYPE_STRING') return 'string';
  if (/^TYPE_(S?U?INT32|S?FIXED32)$/.test(type)) return 'integer';
  return /^TYPE_(DOUBLE|FLOAT)$/.test(type) ? 'float' : 'other';
}

/** True if the fields of `message` can be checked. False for a class instance, which may have more properties, and an Any with '@type'. */
export function isCheckable(message: unknown): message is Readonly<Record<string, unknown>> {
  return isPlainObject(message) && !('@type' in message);
}

/** True if the serializer ignores `value`, as if it were absent. */
export function isAbsent(value: unknown): boolean {
  return value === undefined || value === null || typeof value === 'function';
}

/** True if `key` could be the name of a field, but `type` has no such field. False for names such as `$typeName` of other generators. */
export function isUnknownField(key: string, type: MessageType): boolean {
  return !type.fields.has(key) && !type.oneofs.has(key) && /^[a-z]\w*$/i.test(key);
}

/**
 * Returns the message for an object in a string field or a non-numeric value in a number field; `undefined` for any other value.
 * @param describe describes the value in the message
 */
export function scalarProblem(
  value: unknown,
  kind: FieldKind | undefined,
  describe = describeValue,
): string | undefined {
  if (kind === 'string')
    return typeof value === 'object' ? problemMessage('a string', value, undefined, describe) : undefined;
  const isNumber = kind === 'integer' || kind === 'float';
  return isNumber && typeof value !== 'number' && value !== 'NaN' && Number.isNaN(Number(value))
    ? problemMessage('a number', value, undefined, describe)
    : undefined;
}
