import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';

/** So many clients are shown; those that are looked at first, then those in trouble, where there are more. */
export const SHOWN_CLIENTS = 50;

/** A client that is shown, and the name by which the page tells it from the others. */
export interface ShownClient {
  readonly key: string;
  readonly client: ResilientGrpcClient;
}

/** Whom to show of `clients`, and by which key. Those whose key is `looked` at come before all others. */
export function shownClients(
  clients: Iterable<ResilientGrpcClient>,
  looked: ReadonlySet<string | undefined>,
): {
  readonly total: number;
  readonly shown: readonly ShownClient[];
} {
  const all = keyed([...clients]);
  if (all.length <= SHOWN_CLIENTS) return { total: all.length, shown: all };
  const groups: [ShownClient[], ShownClient[], ShownClient[]] = [[], [], []];
  for (const one of all) groups[looked.has(one.key) ? 0 : inTrouble(one.client) ? 1 : 2].push(one);
  return { total: all.length, shown: groups.flat().slice(0, SHOWN_CLIENTS) };
}

/** The key of a client is its name, with a number behind it where others bear the same one; no two have the same key. */
function keyed(clients: readonly ResilientGrpcClient[]): readonly ShownClient[] {
  const taken = new Set(clients.map(({ name }) => name));
  const numbers = new Map<string, number>();
  return clients.map((client) => {
    const { name } = client;
    let number = (numbers.get(name) ?? 0) + 1;
    const numbered = () => (number === 1 ? name : `${name} (${String(number)})`);
    // A name that looks like a numbered one is its owner's.
    while (number > 1 && taken.has(numbered())) number += 1;
    numbers.set(name, number);
    return { client, key: numbered() };
  });
}

function inTrouble({ connectivity }: ResilientGrpcClient): boolean {
  return connectivity.outage !== undefined || connectivity.state === 'TRANSIENT_FAILURE';
}
