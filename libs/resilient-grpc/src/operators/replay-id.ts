import { describeValue } from '../policy/options/describe-value.js';

/** Id of a message. Compared like the keys of a Map: `5` and `'5'` are different. */
export type ReplayId = PropertyKey | bigint;

const TYPES: readonly string[] = ['string', 'number', 'bigint', 'symbol'];

/**
 * Validates the ids that the user's functions return. An invalid id fails immediately, because an id that never matches would stall the
 * session silently.
 */
export class ReplayIds {
  private readonly types = new Set<string>();

  /** Validates the id of a message. @throws TypeError if its type is not supported, such as the Long of a 64-bit field. */
  ofMessage<Id extends ReplayId>(id: Id): Id {
    const type = typeOf(id, 'id', 'a string, number, bigint, or symbol');
    this.types.add(type);
    return id;
  }

  /** Validates the id in an acknowledgement. @throws TypeError if its type is not supported, or is not the type of any message's id. */
  ofAcknowledgement<Id extends ReplayId>(id: Id): Id {
    const type = typeOf(id, 'acknowledges', 'a string, number, bigint, or symbol, or undefined if there is none');
    if (this.types.size > 0 && !this.types.has(type)) {
      const types = [...this.types].join(' or ');
      const found = `the ${type} ${describeValue(id)}, which matches none of them`;
      throw new TypeError(
        `replayUnacknowledged.acknowledges: expected a ${types}, like the ids of messages, got ${found}`,
      );
    }
    return id;
  }
}

function typeOf(id: unknown, key: string, expected: string): string {
  const type = typeof id;
  if (TYPES.includes(type)) return type;
  const remedy = type === 'object' && id !== null ? '; convert a Long with String(…)' : '';
  throw new TypeError(`replayUnacknowledged.${key}: expected ${expected}, got ${describeValue(id)}${remedy}`);
}
