import { show } from '../policy/service-config/problem.js';

/** What tells messages apart. Compared as a Map compares its keys: `5` and `'5'` are two. */
export type ReplayId = PropertyKey | bigint;

const TYPES: readonly string[] = ['string', 'number', 'bigint', 'symbol'];

/** The ids that a user's functions give. What they cannot be is told at once: an id that never matches would be a silent stall. */
export class ReplayIds {
  readonly #types = new Set<string>();

  /** The id of a message. @throws TypeError for what can be none, as the Long of a 64-bit field. */
  ofMessage<Id extends ReplayId>(id: Id): Id {
    const type = typeOf(id, 'id', 'a string, number, bigint or symbol');
    this.#types.add(type);
    return id;
  }

  /** The id in an acknowledgement. @throws TypeError for what can be none, or is of a type that no message's has. */
  ofAcknowledgement<Id extends ReplayId>(id: Id): Id {
    const type = typeOf(id, 'acknowledges', 'a string, number, bigint or symbol, or undefined for none');
    if (this.#types.size > 0 && !this.#types.has(type)) {
      const types = [...this.#types].join(' or ');
      const found = `the ${type} ${show(id)}, which equals none of them`;
      throw new TypeError(`replayUnacknowledged.acknowledges: expected a ${types}, as id gives them, got ${found}`);
    }
    return id;
  }
}

function typeOf(id: unknown, key: string, expected: string): string {
  const type = typeof id;
  if (TYPES.includes(type)) return type;
  const remedy = type === 'object' && id !== null ? '; write String(…) of what is a Long' : '';
  throw new TypeError(`replayUnacknowledged.${key}: expected ${expected}, got ${show(id)}${remedy}`);
}
