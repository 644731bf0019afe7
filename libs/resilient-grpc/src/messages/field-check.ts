import type { EventHub } from '../call/event-hub.js';
import type { UnsentField } from '../call/unsent-field.js';
import { misspelled } from '../errors/closest.js';
import { describeSecret, describeValue, problemMessage } from '../policy/options/describe-value.js';
import { isAbsent, isCheckable, isUnknownField, type Field, type MessageType } from './message-type.js';
import { isUnresolved, replacedValue, type ReplacedValue } from './replaced-value.js';

/** Maximum number of unknown keys examined per method and message type. Each is compared with the field names once. */
const MAX_UNKNOWN_KEYS = 100;
/** Maximum depth of nested messages that are examined. The message of the call has depth 0. */
const MAX_DEPTH = 5;
/** Maximum number of elements examined per list or map. */
const MAX_ELEMENTS = 3;
/** `field` of an event that describes the message as a whole. */
const WHOLE = '';
/** Maximum number of messages examined per message of a call, including nested messages. */
const MAX_MESSAGES = 50;

/** Receives the values that the serializer omits or replaces. */
export interface FieldCheckEvents extends Pick<EventHub, 'wanted'> {
  emit(event: { readonly type: 'unsent-field' } & UnsentField): void;
}

type Serialize<M> = (message: M) => Buffer;
type Message = Readonly<Record<string, unknown>>;
type Details = DistributedOmit<UnsentField, 'path' | 'field' | 'messageType'>;
type DistributedOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/** A message, list, or map in the message of a call. */
interface Container {
  readonly value: object;
  /** The message type; for a list or a map, the type of the message that contains it. */
  readonly type: MessageType;
  readonly holds: 'fields' | 'list' | 'map';
  /** Names of the fields that lead to the container, joined by dots, without indexes and map keys. */
  readonly path: string;
  readonly depth: number;
  /** The enclosing container, in which this one is the value of `key`; `undefined` for the message of the call. */
  readonly parent: Container | undefined;
  readonly key: string | number;
}

/**
 * Returns a serializer that also reports values that `serialize` omits or replaces: misspelled fields and wrongly typed values. Not used
 * if NODE_ENV is 'production', because of its cost per message.
 * @param typeOf returns the message type; called for the first message
 */
export function withFieldCheck<M>(
  serialize: Serialize<M>,
  path: string,
  typeOf: () => MessageType | undefined,
  events: FieldCheckEvents,
): Serialize<M> {
  let check: FieldCheck<M> | undefined;
  return (message) => {
    try {
      check ??= new FieldCheck(serialize, path, typeOf, events);
      if (events.wanted) check.run(message);
    } catch {
      // The error is ignored, because a message that cannot be read must fail only in the serializer.
    }
    return serialize(message);
  };
}

/** Checks the messages of one method in one direction. Reports each field once. */
export class FieldCheck<M> {
  private readonly type: MessageType | undefined;
  /** Unknown keys by message type, each with the field that it misspells. */
  private readonly unknownKeys = new Map<MessageType, Map<string, string | undefined>>();
  private readonly reported = new Set<string>();
  /** Number of messages that may still be examined in the message of the current call. */
  private budget = 0;

  constructor(
    private readonly serialize: Serialize<M>,
    private readonly path: string,
    typeOf: () => MessageType | undefined,
    private readonly events: FieldCheckEvents,
  ) {
    this.type = typeOf();
  }

  run(message: M): void {
    const { type } = this;
    if (type === undefined) return;
    if (!isCheckable(message) || isUnresolved(message)) {
      this.checkWhole(message, type);
      return;
    }
    this.budget = MAX_MESSAGES;
    this.checkMessage({ value: message, type, holds: 'fields', path: '', depth: 0, parent: undefined, key: '' });
  }

  /** Reports a value passed as the message: a Promise, an Observable, or an object that the serializer reads as an empty message. */
  private checkWhole(message: M, type: MessageType): void {
    if (this.reported.has(WHOLE)) return;
    const replaced = replacedValue(message, { kind: 'message', holds: 'single', type });
    if (replaced === undefined) return;
    const { expected, remedy, sent: empty } = replaced;
    // Safe cast: the serializer reads both values as messages of the call.
    const isEmpty = Buffer.compare(this.serialize(message), this.serialize(empty as M)) === 0;
    // An Observable can have properties with the names of fields, such as `source`.
    if (!isEmpty && !isUnresolved(message)) return;
    this.reported.add(WHOLE);
    const problem = problemMessage(expected, message, remedy, describeSecret);
    const sent = isEmpty ? describeValue(empty) : 'its properties';
    this.events.emit({ type: 'unsent-field', path: this.path, messageType: type.name, field: WHOLE, problem, sent });
  }

  private checkMessage(container: Container): void {
    if (this.budget === 0) return;
    this.budget -= 1;
    const message = container.value as Message;
    for (const key of Object.keys(message)) {
      const field = container.type.fields.get(key);
      if (field === undefined) this.checkUnknownKey(container, message, key);
      else if (field.kind !== 'other') this.checkField(container, key, field);
    }
  }

  private checkUnknownKey(container: Container, message: Message, key: string): void {
    const { type } = container;
    let known = this.unknownKeys.get(type);
    if (known === undefined) this.unknownKeys.set(type, (known = new Map<string, string | undefined>()));
    if (!known.has(key)) {
      if (known.size >= MAX_UNKNOWN_KEYS) return;
      known.set(key, isUnknownField(key, type) ? misspelled(key, type.fields.keys()) : undefined);
    }
    const suggestion = known.get(key);
    // If the suggested field is present, even without a value, the key is not a mistake. The value of the key is read last, because it may
    // come from a getter.
    if (suggestion === undefined || suggestion in message) return;
    if (!isAbsent(message[key])) this.report(container, key, undefined, { suggestion });
  }

  private checkField(message: Container, key: string, field: Field): void {
    const { holds } = field;
    if (holds === 'single') {
      this.checkValue(message, key, field);
      return;
    }
    const value = valueAt(message, key);
    if (typeof value !== 'object' || value === null) return;
    const container = containerAt(message, key, value, message.type, holds);
    if (holds === 'list') {
      // Objects other than arrays are not checked, because the serializer rejects them.
      const length = Array.isArray(value) ? Math.min(value.length, MAX_ELEMENTS) : 0;
      for (let index = 0; index < length; index++) this.checkValue(container, index, field);
    } else if (value instanceof Map) {
      this.reportReplaced(message, key, value, { expected: 'an object', sent: {} });
    } else {
      for (const entry of Object.keys(value).slice(0, MAX_ELEMENTS)) this.checkValue(container, entry, field);
    }
  }

  private checkValue(container: Container, key: string | number, field: Field): void {
    const value = valueAt(container, key);
    if (isAbsent(value)) return;
    const replaced = replacedValue(value, field);
    if (replaced !== undefined) this.reportReplaced(container, key, value, replaced);
    else if (field.kind === 'message' && container.depth < MAX_DEPTH && isCheckable(value))
      this.checkMessage(containerAt(container, key, value, field.type, 'fields'));
  }

  private reportReplaced(container: Container, key: string | number, value: unknown, replaced: ReplacedValue): void {
    if (this.isReported(container, key)) return;
    const { expected, remedy, sent } = replaced;
    const problem = problemMessage(expected, value, remedy, describeSecret);
    this.report(container, key, sent, { problem, sent: describeValue(sent) });
  }

  /**
   * Reports a field once, and only if the serializer produces the same bytes for the original value and for `sent`. If the bytes differ,
   * the serializer supports the original value, as a serializer other than proto-loader's may. The field is not examined again, even if it
   * was not reported.
   */
  private report(container: Container, key: string | number, sent: unknown, details: Details): void {
    if (this.isReported(container, key)) return;
    const field = pathTo(container, key);
    this.reported.add(field);
    // Safe cast: both are the message of the call; in `replaced`, one value differs.
    const { message, replaced } = messagesOf(container, key, sent) as { message: M; replaced: M };
    if (Buffer.compare(this.serialize(message), this.serialize(replaced)) !== 0) return;
    this.events.emit({ type: 'unsent-field', path: this.path, messageType: container.type.name, field, ...details });
  }

  private isReported(container: Container, key: string | number): boolean {
    // The path is built only if a field has already been reported, because most messages are correct.
    return this.reported.size > 0 && this.reported.has(pathTo(container, key));
  }
}

function containerAt(
  parent: Container,
  key: string | number,
  value: object,
  type: MessageType,
  holds: Container['holds'],
): Container {
  const depth = holds === 'fields' ? parent.depth + 1 : parent.depth;
  return { value, type, holds, path: pathTo(parent, key), depth, parent, key };
}

/** Returns the names of the fields that lead to a value. */
function pathTo({ holds, path }: Container, key: string | number): string {
  if (holds !== 'fields') return path;
  return path === '' ? String(key) : `${path}.${key}`;
}

/** Returns the value of `key`; `undefined` for a getter, which might return another value each time. */
function valueAt({ value }: Container, key: string | number): unknown {
  return Object.getOwnPropertyDescriptor(value, key)?.value;
}

/** Returns the message of the call, and the same message with the value `sent` for `key` in `container`. */
function messagesOf(container: Container, key: string | number, sent: unknown): { message: object; replaced: object } {
  const { value: message, holds, parent } = container;
  const replaced = copyWith(message, holds, key, sent);
  return parent === undefined ? { message, replaced } : messagesOf(parent, container.key, replaced);
}

function copyWith(value: object, holds: Container['holds'], key: string | number, sent: unknown): object {
  if (holds === 'list') return Object.assign([...(value as readonly unknown[])], { [key]: sent });
  // `Object.fromEntries` defines '__proto__' as an ordinary key. An assignment would set the prototype.
  if (holds === 'map') return Object.fromEntries([...Object.entries(value), [key, sent]]);
  // Inherits the other fields instead of copying them, because a copy would run getters that the serializer does not use.
  return Object.create(value, { [key]: { value: sent, enumerable: true } }) as object;
}
