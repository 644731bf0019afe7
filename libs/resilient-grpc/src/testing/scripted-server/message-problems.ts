import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { filesOf } from '../../messages/file-descriptors.js';
import { inspectMessage } from '../../messages/inspect-message.js';
import { isAbsent, messageTypeOf, type MessageType } from '../../messages/message-type.js';
import { describeValue, pathOf, problemMessage, truncate } from '../../policy/options/describe-value.js';
import { isObject } from '../../policy/options/option-schemas.js';
import { isPlainObject } from '../../policy/options/plain-object.js';
import type { LoadedMethod } from './service-methods.js';

/** Maximum length, in characters, of the list of fields in an error message. The message may be sent in the trailers of a call. */
const MAX_LIST_LENGTH = 300;

/** Returns the response type of `method`. */
export function responseTypeOf(method: LoadedMethod): MessageType {
  const files = filesOf(method);
  const type = files && messageTypeOf(method.path, files, 'response');
  if (type === undefined) throw new TypeError(`The response type of ${method.path} has no descriptor`);
  return type;
}

/**
 * Returns the problems of a message: a value that is not an object, or is an object such as a Date that would be sent as an empty message;
 * top-level fields that `type` does not have; misspelled fields of nested messages; and values that the server would not send as given.
 * Fields of class instances may be unknown, because a class may have additional properties. Names that no field can have, such as
 * `$typeName` from other code generators, are ignored.
 */
export function messageProblems(message: unknown, type: MessageType, path: string): ConfigurationProblem[] {
  if (!isObject(message)) return [{ path, message: problemMessage(`an object with fields of ${type.name}`, message) }];
  const problems: ConfigurationProblem[] = [];
  if (isPlainObject(message) && !('@type' in message))
    for (const [key, value] of Object.entries(message))
      if (!isAbsent(value) && type.isUnknownField(key))
        problems.push({ path: pathOf(path, key), message: unknownFieldMessage(key, type) });
  for (const found of foundValues(message, type)) {
    const at = found.field === '' ? path : `${path}.${found.field}`;
    const text =
      'suggestion' in found
        ? `unknown field of ${found.messageType}; did you mean '${found.suggestion}'?`
        : `${found.problem}; the server would send ${found.sent} instead`;
    if (!problems.some((other) => other.path === at)) problems.push({ path: at, message: text });
  }
  return problems;
}

function foundValues(message: object, type: MessageType) {
  try {
    return inspectMessage(message, type, true, describeValue).found;
  } catch {
    // A message that cannot be read makes its call fail.
    return [];
  }
}

function unknownFieldMessage(key: string, { name, fields }: MessageType): string {
  const names = [...fields.keys()];
  const meant = closest(key, names);
  if (meant !== undefined) return `unknown field of ${name}; did you mean '${meant}'?`;
  if (names.length === 0) return `unknown field of ${name}, which has no fields; write message: {}`;
  return `unknown field of ${name}; known fields: ${truncate(names.join(', '), MAX_LIST_LENGTH)}`;
}
