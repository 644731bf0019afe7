import type { ResilientGrpcClient } from '../client/resilient-grpc-client.js';

/** So many clients are shown; those in trouble first where there are more. */
const SHOWN_CLIENTS = 50;

/** A client that is shown, and the name by which the page tells it from the others. */
export interface ShownClient {
  readonly key: string;
  readonly client: ResilientGrpcClient;
}

/**
 * Whom to show of `clients`, and by which key: its name, with a number behind it where others bear the same one. Those who are
 * `looked` at are shown in any case.
 */
export function shownClients(
  clients: Iterable<ResilientGrpcClient>,
  looked: ReadonlySet<string | undefined>,
): {
  readonly total: number;
  readonly shown: readonly ShownClient[];
} {
  const named = new Map<string, number>();
  const all = [...clients].map((client): ShownClient => {
    const number = (named.get(client.name) ?? 0) + 1;
    named.set(client.name, number);
    return { client, key: number === 1 ? client.name : `${client.name} (${String(number)})` };
  });
  if (all.length <= SHOWN_CLIENTS) return { total: all.length, shown: all };
  const first = all.filter(({ key, client }) => looked.has(key) || inTrouble(client));
  const others = all.filter((one) => !first.includes(one));
  return { total: all.length, shown: [...first, ...others].slice(0, SHOWN_CLIENTS) };
}

function inTrouble({ connectivity }: ResilientGrpcClient): boolean {
  return connectivity.outage !== undefined || connectivity.state === 'TRANSIENT_FAILURE';
}
