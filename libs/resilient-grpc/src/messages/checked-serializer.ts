import type { EventHub } from '../call/event-hub.js';
import type { UnsentField } from '../call/call-event.js';
import { OWN_SERIALIZERS } from '../call/method.js';
import { InvalidMessageError } from '../errors/error-message.js';
import { describeSecret } from '../policy/options/describe-value.js';
import { StatusCode } from '../status/status-code.js';
import type { Files } from './file-descriptors.js';
import { prepareFits, inspectMessage, type FoundValue, type Inspection } from './inspect-message.js';
import { messageTypeOf, type MessageType } from './message-type.js';

/** Receives the values that the serializer omits or replaces. */
export interface UnsentFieldEvents extends Pick<EventHub, 'wanted'> {
  emit(event: { readonly type: 'unsent-field' } & UnsentField): void;
}

export interface MessageChecks {
  readonly events: UnsentFieldEvents;
  /** True to reject a message with a value that the serializer omits or replaces. */
  readonly rejects: boolean;
}

/** Maximum number of fields reported per method. A message type that contains itself has any number of paths, which a peer may choose. */
const MAX_REPORTED = 1000;

type Serialize<M> = (message: M) => Buffer;

/**
 * Returns a serializer that converts values as protobuf's JSON mapping does, and reports values that `serialize` omits or replaces, each
 * field once. Returns `serialize` itself if it is not proto-loader's, because another one may support these values.
 */
export function checkedSerializer<M>(
  { path, files }: { readonly path: string; readonly files?: Files | undefined },
  serialize: Serialize<M>,
  direction: 'request' | 'response',
  { events, rejects }: MessageChecks,
): Serialize<M> {
  // The serializers of proto-loader, and of protobufjs's generated code, convert each message by this method.
  if (files === undefined || !String(serialize).includes('.fromObject(')) return serialize;
  // Keys are examined in development only, because listing them takes longer than all other checks.
  const examinesKeys = rejects || process.env['NODE_ENV'] !== 'production';
  const reported = new Set<string>();
  let type: MessageType | undefined;
  let isRead = false;

  const readType = (): void => {
    isRead = true;
    try {
      type = messageTypeOf(path, files, direction);
      if (type !== undefined) prepareFits(type);
    } catch {
      // The files are not valid descriptors. The serializer does not depend on them.
    }
  };

  const inspect = (message: M, as: MessageType): Inspection => {
    try {
      return inspectMessage(message, as, examinesKeys, describeSecret);
    } catch {
      // A message that cannot be read must fail only in the serializer.
      return { message, found: [], isUnsendable: false };
    }
  };

  const checked: Serialize<M> = (message) => {
    if (!isRead) readType();
    // A getter that throws here would also throw in the serializer.
    if (type === undefined || (!examinesKeys && type.fits?.(message, 0) === true)) return serialize(message);
    const { message: converted, found, isUnsendable } = inspect(message, type);
    const [first] = found;
    if (first !== undefined && (rejects || isUnsendable)) throw invalidMessage(first, rejects);
    // Safe cast: a copy has the same type.
    const bytes = serialize(converted as M);
    if (!events.wanted) return bytes;
    for (const one of found) {
      if (reported.has(one.field) || reported.size >= MAX_REPORTED) continue;
      reported.add(one.field);
      events.emit({ type: 'unsent-field', path, ...one });
    }
    return bytes;
  };
  OWN_SERIALIZERS.add(checked);
  return checked;
}

function invalidMessage(found: FoundValue, rejects: boolean): InvalidMessageError {
  const problem = 'suggestion' in found ? `unknown field; did you mean '${found.suggestion}'?` : found.problem;
  const subject = found.field === '' ? found.messageType : `field '${found.field}' of ${found.messageType}`;
  return new InvalidMessageError(`${subject}: ${problem}`, rejects ? StatusCode.INVALID_ARGUMENT : StatusCode.INTERNAL);
}
