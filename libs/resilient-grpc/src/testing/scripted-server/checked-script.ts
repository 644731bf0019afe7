import { Readable } from 'node:stream';
import { Metadata } from '@grpc/grpc-js';
import * as v from 'valibot';
import { isAsyncIterable, isIterable, isThenable } from '../../call/iterator-source.js';
import { sentMetadataProblem } from '../../channel/attempt/metadata-input.js';
import { closest } from '../../errors/closest.js';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import type { MessageType } from '../../messages/message-type.js';
import { describeValue, pathOf, problemMessage } from '../../policy/options/describe-value.js';
import { optionProblems } from '../../policy/options/option-problems.js';
import { flag, isObject, millisecondsOrNever, object, oneOf, rule } from '../../policy/options/option-schemas.js';
import { numberRemedy } from '../../policy/options/value-rules.js';
import { STATUS_NAMES, StatusCode } from '../../status/status-code.js';
import type { Reply, Script } from './reply.js';
import { messageProblems, responseTypeOf } from './message-problems.js';
import type { ScriptedCall } from './scripted-call.js';
import { SCRIPTED_SERVER, type LoadedMethod } from './service-methods.js';
import { isError } from '../../errors/error-message.js';

const EXAMPLE = "{ message: { … } } or { status: 'NOT_FOUND' }";

const replyEntries = {
  message: v.optional(v.unknown()),
  messages: v.optional(
    v.custom(
      (value) =>
        typeof value === 'function' || (typeof value === 'object' && (isIterable(value) || isAsyncIterable(value))),
      'an array, an iterable, or a function that returns one; write messages: [{ … }]',
    ),
  ),
  intervalMs: v.optional(millisecondsOrNever(0)),
  headers: v.optional(v.custom((value) => value === true || isObject(value), 'an object, or true for empty headers')),
  status: v.optional(v.pipe(v.unknown(), rule(statusProblem))),
  details: v.optional(v.string('a string')),
  trailers: v.optional(v.custom(isObject, 'an object')),
  pushback: v.optional(
    v.custom(
      (value) => [value].flat().every((entry) => typeof entry === 'string' || typeof entry === 'number'),
      'a string, a number, or an array of them',
    ),
  ),
  delayMs: v.optional(millisecondsOrNever(0)),
  hold: v.optional(oneOf(['everything', 'messages', 'status'])),
  never: v.optional(flag),
  requests: v.optional(oneOf(['await', 'read', 'leave'])),
} as const satisfies Record<keyof Reply, unknown>;

function statusProblem(value: unknown): string | undefined {
  if (typeof value === 'number' || (typeof value === 'string' && Object.hasOwn(StatusCode, value))) return undefined;
  const meant = typeof value === 'string' ? closest(value, STATUS_NAMES) : undefined;
  const remedy = meant === undefined ? numberRemedy(value, () => true) : `write '${meant}'`;
  return problemMessage('the name of a status code or a number', value, remedy);
}

/**
 * Returns the script to run for `method`. A single reply and a list are checked here, once. The return value of a function is checked at
 * each call, and an invalid reply becomes a status that describes the problems.
 * @throws GrpcConfigurationError if the script or one of its replies is invalid
 */
export function checkedScript(method: LoadedMethod, script: Script): Script {
  const path = scriptPath(method);
  const type = responseTypeOf(method);
  const problemsOf = (reply: unknown, at: string, others?: string) => [
    ...replyProblems(reply, method, type, at, others),
    ...(method.responseStream ? [] : severalMessages(reply, method, at)),
  ];
  if (typeof script === 'function') {
    return async (call: ScriptedCall) => {
      const reply = await script(call);
      const problems = problemsOf(reply, `${path}()`);
      return problems.length === 0 ? reply : invalidReply(problems);
    };
  }
  // Safe cast: `isArray` loses the element type of a readonly array.
  const replies = Array.isArray(script) ? (script as readonly Reply[]) : undefined;
  if (replies?.length === 0) {
    const message = problemMessage(`at least one reply such as ${EXAMPLE}`, replies, undefined);
    throw new GrpcConfigurationError([{ path, message }]);
  }
  const problems =
    replies?.flatMap((reply, index) => problemsOf(reply, pathOf(path, index))) ??
    problemsOf(script, path, ', a list of them, or a function that returns one');
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
  return replies === undefined ? script : oneReplyPerCall(replies);
}

/**
 * Returns a function that checks a message of `reply` just before the message is sent; `undefined` if all messages are already known. The
 * messages of a generator, for example, are not known in advance. The function throws an error with the status for the client.
 */
export function streamedMessageCheck(method: LoadedMethod, reply: Reply): ((message: unknown) => void) | undefined {
  const { messages } = reply;
  if (messages === undefined || Array.isArray(messages)) return undefined;
  const path = pathOf(scriptPath(method), 'messages');
  const type = responseTypeOf(method);
  let index = 0;
  return (message) => {
    readMessages.add(messages);
    const problems = messageProblems(message, type, pathOf(path, index));
    index += 1;
    if (problems.length > 0) throw Object.assign(new GrpcConfigurationError(problems), { code: StatusCode.INTERNAL });
  };
}

/** Values of `messages`, except arrays, from which a call has read a message. */
const readMessages = new WeakSet<object>();

/**
 * Requires that no earlier call has read the messages of `reply`, if they are an iterator or a Node stream. Call this function only for a
 * reply that has yielded no messages, because some iterators can be read again.
 * @throws GrpcConfigurationError with the status for the client
 */
export function requireUnread(method: LoadedMethod, { messages }: Reply): void {
  if (typeof messages !== 'object' || !readMessages.has(messages)) return;
  if (!('next' in messages) && !(messages instanceof Readable)) return;
  const got = () => 'an iterator or stream that an earlier call has read';
  const message = problemMessage('an array or a function', messages, 'write messages: () => …', got);
  const problem = { path: pathOf(scriptPath(method), 'messages'), message };
  throw Object.assign(new GrpcConfigurationError([problem]), { code: StatusCode.INTERNAL });
}

function replyProblems(
  reply: unknown,
  method: LoadedMethod,
  type: MessageType,
  path: string,
  others = '',
): ConfigurationProblem[] {
  if (!isObject(reply) || isError(reply) || isThenable(reply)) {
    const isErrorReply = isError(reply);
    const remedy = isErrorReply ? 'write () => { throw error; }' : isThenable(reply) ? 'await it' : undefined;
    const describe = isErrorReply ? () => 'an Error' : describeValue;
    return [{ path, message: problemMessage(`a reply such as ${EXAMPLE}${others}`, reply, remedy, describe) }];
  }
  // For callers that pass the message itself instead of a reply.
  const remedies = Object.fromEntries(
    [...type.fields.keys()].map((field) => [field, `write message: { ${field}: … }`]),
  );
  // Safe cast: the values are `unknown`, and the checks below report invalid ones.
  const { message, messages, headers, trailers } = reply as Record<keyof Reply, unknown>;
  const problems = optionProblems(object(replyEntries, EXAMPLE, remedies), reply, path);
  problems.push(...metadataProblems(headers, pathOf(path, 'headers')));
  problems.push(...metadataProblems(trailers, pathOf(path, 'trailers')));
  if (message !== undefined) problems.push(...messageProblems(message, type, pathOf(path, 'message')));
  if (!Array.isArray(messages)) return problems;
  const list = pathOf(path, 'messages');
  return [...problems, ...messages.flatMap((one, index) => messageProblems(one, type, pathOf(list, index)))];
}

/** Returns a problem if a reply to a call of `method`, which has a single response, lists several messages. */
function severalMessages(reply: unknown, { path: method }: LoadedMethod, path: string): ConfigurationProblem[] {
  const { messages } = isObject(reply) ? (reply as Reply) : {};
  if (!Array.isArray(messages) || messages.length < 2) return [];
  const expected = `at most one message, because ${method} has a single response`;
  const remedy =
    'write [{ message: … }, { message: … }] for one reply per call, or, to simulate a faulty server, messages: () => [{ … }, { … }]';
  return [{ path: pathOf(path, 'messages'), message: problemMessage(expected, messages, remedy) }];
}

function metadataProblems(values: unknown, path: string): ConfigurationProblem[] {
  if (!isObject(values) || values instanceof Metadata) return [];
  return Object.entries(values).flatMap(([key, value]: [string, unknown]) => {
    const message = value === undefined ? undefined : sentMetadataProblem(key, value);
    return message === undefined ? [] : [{ path: pathOf(path, key), message }];
  });
}

function scriptPath(method: LoadedMethod): string {
  return pathOf(`${SCRIPTED_SERVER}.scripts`, method.path);
}

function invalidReply(problems: readonly ConfigurationProblem[]): Reply {
  return { status: 'INTERNAL', details: new GrpcConfigurationError(problems).message };
}

/** Creates a script that returns one reply per call, starting with the first. The last one repeats. */
function oneReplyPerCall(replies: readonly Reply[]): Script {
  let next = 0;
  return () => {
    const reply = replies[Math.min(next, replies.length - 1)] ?? {};
    next += 1;
    return reply;
  };
}
