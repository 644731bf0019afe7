import { isPlainObject } from '../policy/options/describe-value.js';
import { isDate, moment } from '../time/clock.js';
import type { MessageType } from './message-type.js';

/** A conversion to a message of a well-known type. Returns `undefined` for a value that it does not convert. */
type Conversion = (value: unknown, type: MessageType) => object | undefined;

/** Types whose messages look like JSON data, so that the values of their fields alone do not identify them. */
export const JSON_TYPES: ReadonlySet<string> = new Set(
  ['Struct', 'Value', 'Any'].map((name) => `google.protobuf.${name}`),
);

/** Seconds of 0001-01-01 and of 9999-12-31T23:59:59Z since 1970. */
const MIN_TIMESTAMP = -62_135_596_800;
const MAX_TIMESTAMP = 253_402_300_799;
const MAX_DURATION_SECONDS = 315_576_000_000;
/** Maximum depth of JSON data. protobufjs rejects data that is deeper. */
const MAX_JSON_DEPTH = 45;

const CONVERSIONS: Readonly<Record<string, Conversion>> = {
  'google.protobuf.Timestamp': timestampOf,
  'google.protobuf.Duration': durationOf,
  'google.protobuf.FieldMask': fieldMaskOf,
  'google.protobuf.Struct': (value, type) =>
    isDocument(value) && !isStruct(value, type) ? partOf(value, valueType(type, 'fields'), 5) : undefined,
  'google.protobuf.Value': (value, type) => (isValueMessage(value, type) ? undefined : valueOf(value, type, 0)),
  'google.protobuf.ListValue': (value, type) =>
    Array.isArray(value) ? partOf(value, valueType(type, 'values'), 6) : undefined,
};

/**
 * Converts a value to a message of the well-known `type`, as protobuf's JSON mapping does. Returns `undefined` if `type` is another type, or
 * if `value` is a message already or cannot be converted. Wrappers are not converted here.
 */
export function wellKnownMessage(value: unknown, type: MessageType): object | undefined {
  return CONVERSIONS[type.fullName]?.(value, type);
}

/** True for StringValue, Int64Value, and the other wrappers. */
export function isWrapper({ fullName, fields }: MessageType): boolean {
  return (
    /^google\.protobuf\.(?:U?Int(?:32|64)|Bool|Bytes|Double|Float|String)Value$/.test(fullName) && fields.size === 1
  );
}

function timestampOf(value: unknown): object | undefined {
  if (isDate(value)) return instant(value.getTime(), undefined);
  if (typeof value !== 'string') return undefined;
  const [, day = '', time = '', fraction = '', zone = ''] =
    /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/.exec(value) ?? [];
  // Date.parse() accepts days that do not exist, such as February 30.
  const isDay = moment(Date.parse(`${day}T00:00:00Z`)).getUTCDate() === Number(day.slice(-2));
  return isDay ? instant(Date.parse(`${day}T${time}${zone}`), fraction) : undefined;
}

/** Returns the Timestamp of `ms`, with the nanoseconds of `fraction` if it is given. */
function instant(ms: number, fraction: string | undefined): object | undefined {
  const seconds = Math.floor(ms / 1000);
  if (!(seconds >= MIN_TIMESTAMP && seconds <= MAX_TIMESTAMP)) return undefined;
  const nanos = fraction === undefined ? (ms - seconds * 1000) * 1_000_000 : Number(fraction.padEnd(9, '0'));
  return { seconds, nanos };
}

function durationOf(value: unknown): object | undefined {
  const parts = typeof value === 'string' ? /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(value) : null;
  if (parts === null) return undefined;
  const sign = parts[1] === '-' ? -1 : 1;
  const seconds = Number(parts[2]);
  if (seconds > MAX_DURATION_SECONDS) return undefined;
  return { seconds: sign * seconds, nanos: sign * Number((parts[3] ?? '').padEnd(9, '0')) };
}

function fieldMaskOf(value: unknown): object | undefined {
  if (Array.isArray(value) && value.every((path) => typeof path === 'string')) return { paths: value };
  if (typeof value !== 'string') return undefined;
  const paths = value === '' ? [] : value.split(',');
  return { paths: paths.map((path) => path.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)) };
}

/** Returns the Value of JSON data; `undefined` for data that JSON does not have, such as a Map, or that is too deep. */
function valueOf(json: unknown, type: MessageType, depth: number): object | undefined {
  switch (typeof json) {
    case 'string':
      return valueMessage(type, 3, json);
    case 'boolean':
      return valueMessage(type, 4, json);
    case 'number':
      return valueMessage(type, 2, json);
    case 'bigint':
      return Number.isSafeInteger(Number(json)) ? valueMessage(type, 2, Number(json)) : undefined;
    case 'object': {
      if (json === null) return valueMessage(type, 1, 0);
      if (depth > MAX_JSON_DEPTH) return undefined;
      // Ends at the first value that cannot be converted, because data that contain themselves twice have 2^45 values.
      if (Array.isArray(json)) {
        const values: object[] = [];
        for (const one of json as unknown[]) {
          const value = valueOf(isJson(one) ? one : null, type, depth + 1);
          if (value === undefined) return undefined;
          values.push(value);
        }
        return valueMessage(type, 6, { values });
      }
      const { toJSON } = json as { readonly toJSON?: unknown };
      if (typeof toJSON === 'function') return valueOf(toJSON.call(json), type, depth + 1);
      if (!isDocument(json)) return undefined;
      const values: [key: string, value: object][] = [];
      for (const [key, one] of Object.entries(json)) {
        if (!isJson(one)) continue;
        const value = valueOf(one, type, depth + 1);
        if (value === undefined) return undefined;
        values.push([key, value]);
      }
      // `Object.fromEntries` defines '__proto__' as an ordinary key.
      return valueMessage(type, 5, { fields: Object.fromEntries(values) });
    }
    default:
      return undefined;
  }
}

function partOf(json: object, type: MessageType, number: number): object | undefined {
  const value = valueOf(json, type, 0);
  // Safe cast: a Struct or a ListValue.
  return value && (Reflect.get(value, nameOf(type, number)) as object | undefined);
}

function valueMessage(type: MessageType, number: number, value: unknown): object {
  return { [nameOf(type, number)]: value };
}

/** Returns the name of a field of Value, which depends on the loader. */
function nameOf(type: MessageType, number: number): string {
  for (const [name, field] of type.fields) if (field.number === number) return name;
  return '';
}

function valueType(type: MessageType, field: string): MessageType {
  const found = type.fields.get(field);
  return found?.kind === 'message' ? found.type : type;
}

/** True if `value` is a Struct, and not data that happens to have a key `fields`. */
function isStruct(value: object, type: MessageType): boolean {
  const keys = Object.keys(value).filter((key) => !key.startsWith('$'));
  if (keys.length === 0) return isPlainObject(value);
  const { fields } = value as { readonly fields?: unknown };
  if (keys.length > 1 || !isPlainObject(fields)) return false;
  const values = Object.values(fields);
  // Some servers send a Value without a kind for null. Beside other Values, it is one.
  const withKind = values.filter((one) => !isEmptyObject(one));
  const isEach = withKind.every((one) => isValueMessage(one, valueType(type, 'fields')));
  return isEach && withKind.length > 0 === values.length > 0;
}

/** True if `value` is a Value: an object with fields of Value only. */
function isValueMessage(value: unknown, type: MessageType): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const keys = Object.keys(value).filter((key) => !key.startsWith('$'));
  return keys.length > 0 && keys.every((key) => type.fields.has(key) || type.oneofs.includes(key));
}

export function isEmptyObject(value: unknown): boolean {
  return isPlainObject(value) && Object.keys(value).length === 0;
}

/** True if JSON.stringify() includes `value` in an object. */
function isJson(value: unknown): boolean {
  return value !== undefined && typeof value !== 'function' && typeof value !== 'symbol';
}

function isDocument(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !isBuiltIn(value);
}

export function isBuiltIn(value: object): boolean {
  return (
    isDate(value) ||
    [Array, Map, Set, Promise].some((type) => value instanceof type) ||
    ArrayBuffer.isView(value) ||
    value instanceof ArrayBuffer
  );
}
