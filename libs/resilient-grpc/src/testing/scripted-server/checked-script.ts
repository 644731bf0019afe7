import { closest } from '../../errors/closest.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { filesOf } from '../../messages/file-descriptors.js';
import { inspectMessage } from '../../messages/inspect-message.js';
import { isAbsent, messageTypeOf, type MessageType } from '../../messages/message-type.js';
import { describeValue, isPlainObject, pathOf, problemMessage, truncate } from '../../policy/options/describe-value.js';
import { isObject } from '../../policy/options/option-schemas.js';
import { StatusCode } from '../../status/status-code.js';
import type { Reply, Script, ScriptedCall } from './script.js';
import { SCRIPTED_SERVER, type LoadedMethod } from './service-methods.js';

export type CheckedScript = (call: ScriptedCall) => Reply | Promise<Reply>;

/** Maximum length, in characters, of the list of fields in an error message. The message may be sent in the trailers of a call. */
const MAX_LIST_LENGTH = 300;

/**
 * Returns the script to run for `method`. The messages of a single reply and of a list are checked here, once. Those of a function's return
 * value are checked at each call, and a message with a mistake throws the error for the client.
 * @throws GrpcConfigurationError if a message of the script has a mistake
 */
export function checkedScript(method: LoadedMethod, script: Script): CheckedScript {
  const path = scriptPath(method);
  if (typeof script === 'function') {
    return async (call: ScriptedCall) => {
      const reply = await script(call);
      const problems = replyProblems(reply, method, `${path}()`);
      if (problems.length > 0) throw internalError(problems);
      return reply;
    };
  }
  const isList = Array.isArray(script);
  // Safe cast: `isArray` does not narrow a readonly array.
  const replies = (isList ? script : [script]) as readonly Reply[];
  const problems = replies.flatMap((reply, index) => replyProblems(reply, method, isList ? pathOf(path, index) : path));
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
  let next = 0;
  return () => {
    const reply = replies[Math.min(next, replies.length - 1)] ?? {};
    next += 1;
    return reply;
  };
}

/**
 * Checks a message of a reply that could not be checked before, such as the message number `index` of a generator.
 * @throws GrpcConfigurationError with the status for the client
 */
export function requireMessage(method: LoadedMethod, message: unknown, index: number): void {
  const path = pathOf(pathOf(scriptPath(method), 'messages'), index);
  const problems = messageProblems(message, responseTypeOf(method), path);
  if (problems.length > 0) throw internalError(problems);
}

function replyProblems({ message, messages }: Reply, method: LoadedMethod, path: string): ConfigurationProblem[] {
  const type = responseTypeOf(method);
  const list: readonly unknown[] = Array.isArray(messages) ? messages : [];
  return [
    ...(message === undefined ? [] : messageProblems(message, type, pathOf(path, 'message'))),
    ...list.flatMap((one, index) => messageProblems(one, type, pathOf(pathOf(path, 'messages'), index))),
  ];
}

/**
 * Returns the problems of a message: a value that is not an object, or is an object such as a Date that would be sent as an empty message;
 * top-level fields that `type` does not have; misspelled fields of nested messages; and values that the server would not send as given.
 * Fields of class instances may be unknown, because a class may have additional properties. Names that no field can have, such as
 * `$typeName` from other code generators, are ignored.
 */
function messageProblems(message: unknown, type: MessageType, path: string): ConfigurationProblem[] {
  if (!isObject(message)) return [{ path, message: problemMessage(`an object with fields of ${type.name}`, message) }];
  const problems: ConfigurationProblem[] = [];
  if (isPlainObject(message) && !('@type' in message))
    for (const [key, value] of Object.entries(message))
      if (!isAbsent(value) && type.isUnknownField(key))
        problems.push({ path: pathOf(path, key), message: unknownFieldMessage(key, type) });
  for (const found of inspectMessage(message, type, true, describeValue).found) {
    const at = found.field === '' ? path : `${path}.${found.field}`;
    const text =
      'suggestion' in found
        ? `unknown field of ${found.messageType}; did you mean '${found.suggestion}'?`
        : `${found.problem}; the server would send ${found.sent} instead`;
    if (!problems.some((other) => other.path === at)) problems.push({ path: at, message: text });
  }
  return problems;
}

function unknownFieldMessage(key: string, { name, fields }: MessageType): string {
  const names = [...fields.keys()];
  const meant = closest(key, names);
  if (meant !== undefined) return `unknown field of ${name}; did you mean '${meant}'?`;
  if (names.length === 0) return `unknown field of ${name}, which has no fields; write message: {}`;
  return `unknown field of ${name}; known fields: ${truncate(names.join(', '), MAX_LIST_LENGTH)}`;
}

function responseTypeOf(method: LoadedMethod): MessageType {
  const files = filesOf(method);
  const type = files && messageTypeOf(method.path, files, 'response');
  if (type === undefined) throw new TypeError(`The response type of ${method.path} has no descriptor`);
  return type;
}

function scriptPath(method: LoadedMethod): string {
  return pathOf(`${SCRIPTED_SERVER}.scripts`, method.path);
}

function internalError(problems: readonly ConfigurationProblem[]): Error {
  return Object.assign(new GrpcConfigurationError(problems), { code: StatusCode.INTERNAL });
}
