import { openClients, type OpenClient } from '../../client/open-clients.js';

/** The clients and calls that were open when the baseline was taken. */
export interface OpenCallBaseline {
  /** Describes the open calls that started since. */
  newCalls(): readonly string[];
  /** Returns the open clients that were created since. */
  newClients(): readonly OpenClient[];
}

/** Records the open clients of this process and their open calls. */
export function openCalls(): OpenCallBaseline {
  const clients = new WeakSet(openClients());
  // Compares identities instead of start times: two calls may start in the same millisecond.
  const calls = new WeakSet(openClients().flatMap(({ registry }) => [...registry]));
  return {
    newCalls: () =>
      openClients().flatMap(({ name, registry }) =>
        [...registry]
          .filter((call) => !calls.has(call))
          .map((call) => {
            const { path, received, openedAt } = call.describe();
            const where = openedAt === undefined ? '' : `, opened at ${openedAt}`;
            return `call ${path} of client '${name}' is still open, ${received} messages received${where}`;
          }),
      ),
    newClients: () => openClients().filter((client) => !clients.has(client)),
  };
}
