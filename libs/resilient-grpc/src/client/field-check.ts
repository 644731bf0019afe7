import type { EventHub } from '../call/event-hub.js';
import type { UnsentField } from '../call/unsent-field.js';
import { misspelled } from '../errors/closest.js';
import { describeSecret, describeValue } from '../policy/options/describe-value.js';
import {
  isAbsent,
  isCheckable,
  isUnknownField,
  messageTypeOf,
  scalarProblem,
  type FieldKind,
  type MessageType,
} from './message-type.js';

/** Maximum number of unknown keys per method that are examined. Each is compared with the field names once. */
const MAX_UNKNOWN_KEYS = 100;

/** Receives the fields that are not sent. */
export interface FieldCheckEvents extends Pick<EventHub, 'wanted'> {
  emit(event: { readonly type: 'unsent-field' } & UnsentField): void;
}

type Serialize<M> = (message: M) => Buffer;
type Message<M> = M & Readonly<Record<string, unknown>>;
type Details = DistributedOmit<UnsentField, 'path' | 'field'>;
type DistributedOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never;

/**
 * Returns a serializer that also reports values that `serialize` omits or replaces: misspelled top-level fields, and wrong values in string
 * and number fields. Not used if NODE_ENV is 'production', because of its cost per message.
 * @param typeOf returns the definition of the message type, as in a method definition of proto-loader; called at the first message
 */
export function withFieldCheck<M>(
  serialize: Serialize<M>,
  path: string,
  typeOf: () => unknown,
  events: FieldCheckEvents,
): Serialize<M> {
  let check: FieldCheck<M> | undefined;
  return (message) => {
    try {
      check ??= new FieldCheck(serialize, path, typeOf, events);
      if (events.wanted) check.run(message);
    } catch {
      // A message that cannot be read must fail only in the serializer.
    }
    return serialize(message);
  };
}

/** Checks the messages of one method in one direction. Reports each field once. */
class FieldCheck<M> {
  private readonly type: MessageType | undefined;
  /** Unknown keys, each with the field that it misspells. */
  private readonly unknownKeys = new Map<string, string | undefined>();
  private readonly reported = new Set<string>();

  constructor(
    private readonly serialize: Serialize<M>,
    private readonly path: string,
    typeOf: () => unknown,
    private readonly events: FieldCheckEvents,
  ) {
    this.type = messageTypeOf(typeOf());
  }

  run(message: M): void {
    const { type, reported } = this;
    if (type === undefined || !isCheckable(message)) return;
    for (const key of Object.keys(message)) {
      const kind = type.fields.get(key);
      if (kind === 'other' || reported.has(key)) continue;
      if (kind === undefined) this.checkUnknownKey(message, key, type);
      else this.checkScalar(message, key, kind, type);
    }
  }

  private checkUnknownKey(message: Message<M>, key: string, type: MessageType): void {
    if (!this.unknownKeys.has(key)) {
      if (this.unknownKeys.size >= MAX_UNKNOWN_KEYS) return;
      this.unknownKeys.set(key, isUnknownField(key, type) ? misspelled(key, type.fields.keys()) : undefined);
    }
    const suggestion = this.unknownKeys.get(key);
    // If the field is present, even without a value, the unknown key is not a mistake. Its value may be a getter, so it is read last.
    if (suggestion === undefined || suggestion in message || isAbsent(message[key])) return;
    this.report(message, key, undefined, { messageType: type.name, suggestion });
  }

  private checkScalar(message: Message<M>, key: string, kind: FieldKind, type: MessageType): void {
    // A getter might return another value each time.
    const value: unknown = Object.getOwnPropertyDescriptor(message, key)?.value;
    const problem = scalarProblem(value, kind, describeSecret);
    if (problem === undefined || isAbsent(value)) return;
    const sent = kind === 'string' ? String(value) : kind === 'integer' ? 0 : NaN;
    // Objects such as dates and database ids have a meaningful string.
    if (typeof sent === 'string' && !sent.startsWith('[object ')) return;
    this.report(message, key, sent, { messageType: type.name, problem, sent: describeValue(sent) });
  }

  /** Reports a field, if the serializer really produces the same bytes for the value `sent`. Other serializers may support the value. */
  private report(message: Message<M>, field: string, sent: unknown, details: Details): void {
    this.reported.add(field);
    // Inherits the other fields instead of copying them, so that only the getters that the serializer uses run.
    const replaced = Object.create(message, { [field]: { value: sent, enumerable: true } }) as M;
    if (Buffer.compare(this.serialize(message), this.serialize(replaced)) !== 0) return;
    this.events.emit({ type: 'unsent-field', path: this.path, field, ...details });
  }
}
