import type { UnsentField } from '../call/call-event.js';
import { describeValue, isPlainObject, problemMessage } from '../policy/options/describe-value.js';
import { join } from './file-descriptors.js';
import { isAbsent, type Field, type FieldValues, type MessageType } from './message-type.js';
import { integerRange, replacedMessage, replacedValue, type ReplacedValue } from './replaced-value.js';
import { isBuiltIn, isEmptyObject, isWrapper, wellKnownMessage, JSON_TYPES } from './well-known-types.js';

/** Maximum depth of nested messages, as in protobufjs, which rejects deeper ones. */
const MAX_DEPTH = 100;

type Fits = NonNullable<MessageType['fits']>;

/** Sets `type.fits`. It is compiled on first use, because types can contain themselves. */
export function prepareFits(type: MessageType): void {
  type.fits ??= (message, depth) => {
    type.fits = () => false;
    try {
      type.fits = compileFits(type);
    } catch {
      // The process does not allow generated code (--disallow-code-generation-from-strings), or the descriptor is invalid.
    }
    return type.fits(message, depth);
  };
}

/**
 * Compiles the test whether a message of `type` can be serialized as it is. It runs for every message, so it is generated as code, like
 * protobufjs's serializers: reading the fields by variable names would cost five times as much. True only if a field has a value, because
 * an object without one may be something else, such as a Promise.
 */
function compileFits(type: MessageType): Fits {
  if (type.isOpaque || type.fields.size === 0) return () => true;
  // Objects of these types may be JSON data.
  if (JSON_TYPES.has(type.fullName)) return () => false;
  const refs: unknown[] = [isPlainObject];
  const tests = [...type.fields].map(([name, field]) => {
    const test = testOf(field, refs);
    const tested = {
      single: `e=v;if(!(${test}))return false`,
      list: `if(!Array.isArray(v))return false;for(i=0;i<v.length;i++){e=v[i];if(!(${test}))return false}`,
      map: `if(!r[0](v))return false;for(i in v){e=v[i];if(!i.isWellFormed()||!(${test}))return false}`,
    }[field.holds];
    // Keys that are not text are examined one by one.
    const isFit = field.holds === 'map' && field.keys.kind !== 'string' ? 'return false' : tested;
    // Of several fields of a oneof, only one arrives.
    const oneof =
      field.oneof === undefined ? '' : `if(o${String(field.oneof)})return false;o${String(field.oneof)}=true;`;
    return `if((v=m[${JSON.stringify(name)}])!=null){${oneof}${isFit};some=true}`;
  });
  const oneofs = type.oneofs.map((_, index) => `,o${String(index)}`).join('');
  const code = `return function(m,d){let v,e,i,some=false${oneofs};if(typeof m!=="object"||m===null)return false;if(d>${String(MAX_DEPTH)})return false;${tests.join('')}return some}`;
  // Safe: the code contains only names from the descriptor, as JSON. The cast states what the code returns.
  // eslint-disable-next-line @typescript-eslint/no-implied-eval
  return (new Function('r', code) as (refs: unknown[]) => Fits)(refs);
}

function testOf(field: FieldValues, refs: unknown[]): string {
  switch (field.kind) {
    case 'string':
      return 'typeof e==="string"&&e.isWellFormed()';
    case 'integer':
      return `typeof e==="number"&&(e${field.unsigned ? '>>>' : '|'}0)===e`;
    case 'long': {
      const range = field.unsigned
        ? 'e>=0&&e<=18446744073709551616'
        : 'e>=-9223372036854775808&&e<=9223372036854775808';
      // The text of most integers, and Long.
      const others = `typeof e==="string"?/^\\d{1,18}$/.test(e):typeof e==="object"&&e!==null&&e.unsigned===${String(field.unsigned)}`;
      return `typeof e==="number"?Math.trunc(e)===e&&${range}:${others}`;
    }
    case 'float':
      return 'typeof e==="number"&&(isFinite(Math.fround(e))||!isFinite(e))';
    case 'double':
      return 'typeof e==="number"';
    case 'boolean':
      return 'typeof e==="boolean"';
    case 'bytes':
      return 'typeof e==="object"&&e!==null&&e.BYTES_PER_ELEMENT===1';
    case 'enum':
      return `typeof e==="number"?(e|0)===e:${refer(field.values, refs)}.has(e)`;
    case 'message':
      prepareFits(field.type);
      return `${refer(field.type, refs)}.fits(e,d+1)`;
    case 'other':
      return 'true';
  }
}

function refer(object: object, refs: unknown[]): string {
  return `r[${String(refs.push(object) - 1)}]`;
}

/** Maximum number of messages whose keys are examined per message of a call, including nested messages. */
const MAX_MESSAGES_WITH_KEYS = 50;

type DistributedOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** A value that does not arrive as it was given. */
export type FoundValue = DistributedOmit<UnsentField, 'path'>;

/** A message as it is sent, and the values in it that do not arrive as they were given. */
export interface Inspection {
  /** The given message, or a copy with converted values. */
  readonly message: unknown;
  readonly found: readonly FoundValue[];
  /** True if a bigint is too large for its field. */
  readonly isUnsendable: boolean;
}

/**
 * Converts the values of a message as protobuf's JSON mapping does, and finds the values that the serializer omits or replaces.
 * @throws RangeError if the message is nested so deeply that the serializer rejects it; and what a getter of the message throws
 */
export function inspectMessage(
  message: unknown,
  type: MessageType,
  examinesKeys: boolean,
  describe: (value: unknown) => string,
): Inspection {
  const inspector = new Inspector(describe, examinesKeys ? MAX_MESSAGES_WITH_KEYS : 0);
  const root = { kind: 'message', type } as const;
  const isAbsent = message === undefined || message === null;
  const converted = isAbsent ? message : inspector.valueOf(message, root, type, '', 0);
  return { message: converted, found: inspector.found, isUnsendable: inspector.isUnsendable };
}

class Inspector {
  readonly found: FoundValue[] = [];
  isUnsendable = false;

  constructor(
    private readonly describe: (value: unknown) => string,
    /** Number of messages whose keys may still be examined. */
    private keyBudget: number,
  ) {}

  /** Returns the value to send for `value`: itself, or a converted one. `owner` is the type of the message that contains the field. */
  valueOf(value: unknown, field: FieldValues | Field, owner: MessageType, path: string, depth: number): unknown {
    if (field.kind === 'message') return this.messageOf(value, field.type, owner, path, depth);
    if (typeof value === 'bigint') {
      if (field.kind === 'integer' || field.kind === 'enum') return this.integerOf(value, 32, field, owner, path);
      if (field.kind === 'long') return this.integerOf(value, 64, field, owner, path);
    }
    // The serializer reads a long string with spaces as another number.
    const given = field.kind === 'long' && typeof value === 'string' ? value.trim() : value;
    this.report(path, owner, value, replacedValue(given, field));
    return given;
  }

  private integerOf(value: bigint, bits: 32 | 64, field: FieldValues, owner: MessageType, path: string): unknown {
    const unsigned = 'unsigned' in field && field.unsigned;
    if ((unsigned ? BigInt.asUintN(bits, value) : BigInt.asIntN(bits, value)) !== value) {
      this.isUnsendable = true;
      this.report(path, owner, value, { expected: integerRange(bits, unsigned), sent: undefined });
    }
    if (bits === 32) return Number(value);
    // The parts of a Long, because older versions of the package `long` read a bigint as 0.
    const [low, high] = [value, value >> 32n].map((part) => Number(BigInt.asIntN(32, part)));
    return { low, high, unsigned };
  }

  private messageOf(value: unknown, type: MessageType, owner: MessageType, path: string, depth: number): unknown {
    if (type.isOpaque) return value;
    // In a Struct or a ListValue, an empty object is a Value without a kind, which some servers send for null. Elsewhere it is JSON data.
    const isInMessage = owner.fullName === 'google.protobuf.Struct' || owner.fullName === 'google.protobuf.ListValue';
    const converted = isInMessage && isEmptyObject(value) ? undefined : wellKnownMessage(value, type);
    if (converted !== undefined) return converted;
    if (isWrapper(type) && isBare(value)) {
      const [field] = type.fields.values();
      return field === undefined ? value : { value: this.valueOf(value, field, owner, path, depth) };
    }
    if (typeof value !== 'object' || value === null) {
      this.report(path, owner, value, replacedMessage(value, type));
      return value;
    }
    const packed: unknown = type.fullName === 'google.protobuf.Any' ? Reflect.get(value, '@type') : undefined;
    const packedType = typeof packed === 'string' ? type.typeInAny(packed) : undefined;
    return this.fieldsOf(value, packedType ?? type, owner, path, depth);
  }

  /** Returns `message`, or a copy if values of its fields are converted. */
  private fieldsOf(message: object, type: MessageType, owner: MessageType, path: string, depth: number): object {
    // The serializer rejects such a message. To go on with the next field would take 2^100 steps if two fields lead back to the message.
    if (depth > MAX_DEPTH) throw new RangeError('The message is nested too deeply');
    // Safe cast: any object has properties.
    const given = message as Readonly<Record<string, unknown>>;
    let copy: Record<string, unknown> | undefined;
    let isEmpty = true;
    for (const [name, field] of type.fields) {
      const value = given[name];
      if (value === undefined || value === null) continue;
      isEmpty = false;
      const beside = field.oneof === undefined ? undefined : laterInOneof(field, given, type);
      if (beside !== undefined)
        this.report(join(path, name), type, value, {
          expected: `no value beside '${beside}' of the same oneof`,
          sent: undefined,
        });
      const sent = this.fieldOf(value, field, type, join(path, name), depth);
      if (sent !== value) (copy ??= copyOf(given, type))[name] = sent;
    }
    if (isEmpty) this.report(path, owner, message, replacedMessage(message, type));
    if (this.keyBudget > 0 && isPlainObject(given)) this.examineKeys(given, type, path);
    return copy ?? message;
  }

  private fieldOf(value: unknown, field: Field, owner: MessageType, path: string, depth: number): unknown {
    if (field.holds === 'single') return this.valueOf(value, field, owner, path, depth + 1);
    const isList = field.holds === 'list';
    const isArray = Array.isArray(value);
    const isObject = typeof value === 'object' && value !== null && (isArray ? value.length === 0 : !isBuiltIn(value));
    if (isList ? !isArray : !isObject) {
      const sent = isList ? [] : isArray ? Object.assign({}, value) : {};
      this.report(path, owner, value, { expected: isList ? 'an array' : 'an object', sent });
      return value;
    }
    // Safe cast: any object has properties. An array is read by index, because `Object.keys` skips its holes.
    const elements = value as Readonly<Record<string | number, unknown>>;
    const keys: Iterable<string | number> = isList ? (value as unknown[]).keys() : Object.keys(elements);
    let copy: Record<string | number, unknown> | undefined;
    for (const key of keys) {
      const element = elements[key];
      const sent = this.elementOf(element, field, owner, path, depth + 1);
      if (sent !== element) (copy ??= copyOfElements(elements))[key] = sent;
      if (field.holds !== 'map') continue;
      if (field.keys.kind !== 'boolean' || key !== 'false')
        this.report(path, owner, key, replacedValue(key, field.keys));
      else {
        // The serializer writes the empty key as false, and any other as true.
        copy ??= copyOfElements(elements);
        Reflect.deleteProperty(copy, key);
        copy[''] = sent;
      }
    }
    return copy ?? value;
  }

  private elementOf(value: unknown, field: Field, owner: MessageType, path: string, depth: number): unknown {
    if (value !== undefined && value !== null) return this.valueOf(value, field, owner, path, depth);
    const converted = field.kind === 'message' ? wellKnownMessage(value, field.type) : undefined;
    if (converted !== undefined) return converted;
    const sent = field.kind === 'string' ? String(value) : field.kind === 'boolean' ? false : Number(value) || 0;
    this.report(path, owner, value, { expected: 'a value', sent });
    return value;
  }

  private examineKeys(message: Readonly<Record<string, unknown>>, type: MessageType, path: string): void {
    this.keyBudget -= 1;
    for (const key of Object.keys(message)) {
      const suggestion = type.fields.has(key) ? undefined : type.misspelledField(key);
      // If the suggested field is present, even without a value, the key is not a mistake. The value of the key is read last, because it
      // may come from a getter.
      if (suggestion === undefined || suggestion in message || isAbsent(message[key])) continue;
      this.found.push({ messageType: type.name, field: join(path, key), suggestion });
    }
  }

  private report(field: string, owner: MessageType, value: unknown, replaced: ReplacedValue | undefined): void {
    if (replaced === undefined) return;
    const { expected, remedy, sent } = replaced;
    const problem = problemMessage(expected, value, remedy, this.describe);
    this.found.push({ messageType: owner.name, field, problem, sent: describeValue(sent) });
  }
}

/** Returns the name of a field of the same oneof that has a value and arrives instead: the serializer writes fields by their numbers. */
function laterInOneof(one: Field, given: Readonly<Record<string, unknown>>, type: MessageType): string | undefined {
  for (const [name, field] of type.fields)
    if (field.oneof === one.oneof && field.number > one.number && (given[name] ?? undefined) !== undefined) return name;
  return undefined;
}

/** Copies the fields of `message`, including those that it inherits. The application's object is not changed. */
function copyOf(message: Readonly<Record<string, unknown>>, type: MessageType): Record<string, unknown> {
  // Without a prototype, so that '__proto__' is an ordinary name.
  const copy = Object.create(null) as Record<string, unknown>;
  // The names of extensions begin with a dot. Other unknown keys are not read, because they may be getters.
  const extensions = Object.keys(message).filter((key) => key.startsWith('.'));
  for (const name of ['@type', ...type.fields.keys(), ...extensions]) copy[name] = message[name];
  return copy;
}

function copyOfElements(elements: object): Record<string | number, unknown> {
  // Safe cast: any object has properties.
  const copy: object = Array.isArray(elements)
    ? [...(elements as unknown[])]
    : Object.assign(Object.create(null) as object, elements);
  return copy as Record<string | number, unknown>;
}

/** True if `value` is what a wrapper contains, and not the wrapper. */
function isBare(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return value !== undefined && value !== null;
  return !('value' in value) && (ArrayBuffer.isView(value) || 'low' in value);
}
