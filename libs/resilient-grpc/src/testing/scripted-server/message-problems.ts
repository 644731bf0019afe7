import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { FieldCheck, type FieldCheckEvents } from '../../messages/field-check.js';
import {
  expectedScalar,
  isAbsent,
  isCheckable,
  isUnknownField,
  messageTypeOf,
  type Field,
  type MessageType,
} from '../../messages/message-type.js';
import { replacedValue } from '../../messages/replaced-value.js';
import { describeValue, pathOf, problemMessage, truncate } from '../../policy/options/describe-value.js';
import { isObject } from '../../policy/options/option-schemas.js';
import type { LoadedMethod } from './service-methods.js';

/** Maximum length, in characters, of the list of fields in an error message. The message may be sent in the trailers of a call. */
const MAX_LIST_LENGTH = 300;

/** Returns the response type of `method`. */
export function responseTypeOf(method: LoadedMethod): MessageType {
  const type = messageTypeOf(method, 'response');
  if (type === undefined) throw new TypeError(`The response type of ${method.path} has no descriptor`);
  return type;
}

/**
 * Returns the problems of a message: a value that is not an object, or is an object such as a Date that would be sent as an empty message;
 * top-level fields that `type` does not have; misspelled fields of nested messages; and values that do not fit their field. The serializer
 * would ignore or convert them. Fields of class instances are not checked, because a class may have additional properties. Names that no
 * field can have, such as `$typeName` from other code generators, are ignored.
 */
export function messageProblems(
  message: unknown,
  type: MessageType,
  path: string,
  serialize: (message: object) => Buffer,
): ConfigurationProblem[] {
  if (!isObject(message)) return [{ path, message: problemMessage(`an object with fields of ${type.name}`, message) }];
  if (!isCheckable(message)) return '@type' in message ? [] : lostMessageProblems(message, type, path);
  const problems: ConfigurationProblem[] = [];
  for (const [key, value] of Object.entries(message)) {
    if (isAbsent(value)) continue;
    const problem = isUnknownField(key, type)
      ? unknownFieldMessage(key, type)
      : scalarProblem(value, type.fields.get(key));
    if (problem !== undefined) problems.push({ path: pathOf(path, key), message: problem });
  }
  return [
    ...problems,
    ...unsentValues(message, type, path, serialize).filter((one) => !problems.some((other) => other.path === one.path)),
  ];
}

/** Returns a problem for a class instance, such as a Date, that the serializer would read as an empty message. */
function lostMessageProblems(message: object, type: MessageType, path: string): ConfigurationProblem[] {
  const lost = replacedValue(message, { kind: 'message', holds: 'single', type });
  if (lost === undefined) return [];
  const sent = describeValue(lost.sent);
  return [
    { path, message: `${problemMessage(lost.expected, message, lost.remedy)}; the server would send ${sent} instead` },
  ];
}

/** Returns a problem for each value that `FieldCheck` reports, including values in nested messages. */
function unsentValues(
  message: object,
  type: MessageType,
  path: string,
  serialize: (message: object) => Buffer,
): ConfigurationProblem[] {
  const problems: ConfigurationProblem[] = [];
  const emit: FieldCheckEvents['emit'] = (found) => {
    const text =
      'suggestion' in found
        ? `unknown field of ${found.messageType}; did you mean '${found.suggestion}'?`
        : `${found.problem}; the server would send ${found.sent} instead`;
    problems.push({ path: `${path}.${found.field}`, message: text });
  };
  try {
    new FieldCheck(serialize, type.name, () => type, { wanted: true, emit }).run(message);
  } catch {
    // Ignores the error, because a message that cannot be serialized makes its call fail.
  }
  return problems;
}

function scalarProblem(value: unknown, field: Field | undefined): string | undefined {
  const expected = field?.holds === 'single' ? expectedScalar(value, field.kind) : undefined;
  return expected === undefined ? undefined : problemMessage(expected, value);
}

function unknownFieldMessage(key: string, { name, fields }: MessageType): string {
  const names = [...fields.keys()];
  const meant = closest(key, names);
  if (meant !== undefined) return `unknown field of ${name}; did you mean '${meant}'?`;
  if (names.length === 0) return `unknown field of ${name}, which has no fields; write message: {}`;
  return `unknown field of ${name}; known fields: ${truncate(names.join(', '), MAX_LIST_LENGTH)}`;
}
