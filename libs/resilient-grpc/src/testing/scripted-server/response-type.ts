import { isPlainObject } from '../../client/settings/copy-options.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { pathOf, problemMessage, truncate } from '../../policy/options/describe-value.js';
import { isObject } from '../../policy/options/option-schemas.js';
import type { LoadedMethod } from './service-methods.js';

/** The names in a response type, as the serializer reads them: in camel case, or unchanged if the loader option `keepCase` is set. */
export interface ResponseType {
  readonly name: string;
  readonly fields: readonly string[];
  /** Types, such as 'TYPE_STRING', of the fields that are not repeated, by field name. */
  readonly scalars: ReadonlyMap<string, string>;
  /** Names of oneofs. With the loader option `oneofs`, a deserialized message has them as keys, which the serializer ignores. */
  readonly oneofs: readonly string[];
}

interface Named {
  readonly name: string;
}

interface FieldDescriptor extends Named {
  readonly type: string;
  readonly label: string;
}

/** Maximum length, in characters, of the list of fields in an error message. The message may be sent in the trailers of a call. */
const MAX_LIST_LENGTH = 300;

/** Returns the response type of `method`. */
export function responseTypeOf(method: LoadedMethod): ResponseType {
  // Safe cast: proto-loader converts a DescriptorProto to an object, with all its keys.
  const { name, field, oneofDecl } = method.responseType.type as Named & {
    readonly field: readonly FieldDescriptor[];
    readonly oneofDecl: readonly Named[];
  };
  const scalars = field.filter(({ label }) => label !== 'LABEL_REPEATED').map((one) => [one.name, one.type] as const);
  return {
    name,
    fields: field.map((one) => one.name),
    scalars: new Map(scalars),
    oneofs: oneofDecl.map((one) => one.name),
  };
}

/**
 * Returns the problems of a message: a value that is not an object, top-level fields that `type` does not have, and values that do not fit
 * a string, floating-point, or 32-bit integer field. The serializer would ignore or convert them. Fields of class instances are not
 * checked, because a class may have additional properties. Names that no field can have, such as `$typeName` from other code generators,
 * are ignored.
 */
export function messageProblems(message: unknown, type: ResponseType, path: string): ConfigurationProblem[] {
  if (!isObject(message)) return [{ path, message: problemMessage(`an object with fields of ${type.name}`, message) }];
  // An Any with '@type' has the fields of another type.
  if (!isPlainObject(message) || '@type' in message) return [];
  const problems: ConfigurationProblem[] = [];
  for (const [key, value] of Object.entries(message)) {
    if (value === undefined || value === null || typeof value === 'function') continue;
    const problem = fieldProblem(key, value, type);
    if (problem !== undefined) problems.push({ path: pathOf(path, key), message: problem });
  }
  return problems;
}

function fieldProblem(key: string, value: unknown, type: ResponseType): string | undefined {
  if (type.fields.includes(key)) return scalarProblem(value, type.scalars.get(key));
  return type.oneofs.includes(key) || !/^[a-z]\w*$/i.test(key) ? undefined : unknownFieldMessage(key, type);
}

/** Returns the message for an object in a string field or a non-numeric value in a number field; `undefined` for any other value. */
function scalarProblem(value: unknown, type: string | undefined): string | undefined {
  if (type === 'TYPE_STRING') return typeof value === 'object' ? problemMessage('a string', value) : undefined;
  const isNumber = /^TYPE_(DOUBLE|FLOAT|S?U?INT32|S?FIXED32)$/.test(type ?? '');
  return isNumber && value !== 'NaN' && !Number.isNaN(value) && Number.isNaN(Number(value))
    ? problemMessage('a number', value)
    : undefined;
}

function unknownFieldMessage(key: string, { name, fields }: ResponseType): string {
  const meant = closest(key, fields);
  if (meant !== undefined) return `unknown field of ${name}; did you mean '${meant}'?`;
  if (fields.length === 0) return `unknown field of ${name}, which has no fields; write message: {}`;
  return `unknown field of ${name}; known fields: ${truncate(fields.join(', '), MAX_LIST_LENGTH)}`;
}
