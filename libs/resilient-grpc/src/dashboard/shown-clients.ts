import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';
import { clientKeys } from '../nest/client-keys.js';

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
  const all = [...clientKeys([...clients])].map(([client, key]) => ({ key, client }));
  if (all.length <= MAX_SHOWN_CLIENTS) return { total: all.length, shown: all };
  const groups: [ShownClient[], ShownClient[], ShownClient[]] = [[], [], []];
  for (const one of all) groups[openInPage.has(one.key) ? 0 : hasProblem(one.client) ? 1 : 2].push(one);
  return { total: all.length, shown: groups.flat().slice(0, MAX_SHOWN_CLIENTS) };
}

function hasProblem({ connectivity }: ResilientGrpcClient): boolean {
  return connectivity.outage !== undefined || connectivity.state === 'TRANSIENT_FAILURE';
}
