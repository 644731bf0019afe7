import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';

/** Maximum number of shown clients. If there are more, clients that are open in a page come first, then clients with problems. */
export const MAX_SHOWN_CLIENTS = 50;

/** Shown client, and the key that identifies it on the page. */
export interface ShownClient {
  readonly key: string;
  readonly client: ResilientGrpcClient;
}

/** Selects at most `MAX_SHOWN_CLIENTS` clients to show, with their keys. `openInPage` contains the keys of the clients open in a page. */
export function shownClients(
  clients: Iterable<ResilientGrpcClient>,
  openInPage: ReadonlySet<string | undefined>,
): {
  readonly total: number;
  readonly shown: readonly ShownClient[];
} {
  const all = assignKeys([...clients]);
  if (all.length <= MAX_SHOWN_CLIENTS) return { total: all.length, shown: all };
  const groups: [ShownClient[], ShownClient[], ShownClient[]] = [[], [], []];
  for (const one of all) groups[openInPage.has(one.key) ? 0 : hasProblem(one.client) ? 1 : 2].push(one);
  return { total: all.length, shown: groups.flat().slice(0, MAX_SHOWN_CLIENTS) };
}

/** Assigns unique keys: the client's name, followed by a number for the second and later clients with the same name. */
function assignKeys(clients: readonly ResilientGrpcClient[]): readonly ShownClient[] {
  const taken = new Set(clients.map(({ name }) => name));
  const numbers = new Map<string, number>();
  return clients.map((client) => {
    const { name } = client;
    let number = (numbers.get(name) ?? 0) + 1;
    const numbered = () => (number === 1 ? name : `${name} (${String(number)})`);
    // A numbered key that is the name of another client belongs to that client.
    while (number > 1 && taken.has(numbered())) number += 1;
    numbers.set(name, number);
    return { client, key: numbered() };
  });
}

function hasProblem({ connectivity }: ResilientGrpcClient): boolean {
  return connectivity.outage !== undefined || connectivity.state === 'TRANSIENT_FAILURE';
}
