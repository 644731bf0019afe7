import { OPEN_CLIENTS, type OpenClient } from '../../client/open-clients.js';

/** Clients of this process that are not closed. */
export function openClients(): readonly OpenClient[] {
  return [...OPEN_CLIENTS];
}

/** Their calls that began after `at`, in milliseconds since 1970, and are still open, in words. */
export function openCalls(at: number): readonly string[] {
  return openClients().flatMap((client) =>
    client
      .activeCalls()
      .filter(({ startedAt }) => startedAt.getTime() > at)
      .map(({ path, received, openedAt }) => {
        const where = openedAt === undefined ? '' : `, opened at ${openedAt}`;
        return `call ${path} of client '${client.name}': still open, ${received} messages received${where}`;
      }),
  );
}
