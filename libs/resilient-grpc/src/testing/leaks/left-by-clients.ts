import { openClients, type OpenClient } from '../../client/open-clients.js';

/** What clients had open at one moment. */
export interface SeenCalls {
  /** Calls that were opened since, in words. */
  newCalls(): readonly string[];
  /** Clients that were made since. */
  newClients(): readonly OpenClient[];
}

/** Notes which clients of this process and calls of theirs are open. */
export function openCalls(): SeenCalls {
  const clients = new WeakSet(openClients());
  // Not by their time: two calls may begin in one millisecond.
  const calls = new WeakSet(openClients().flatMap(({ registry }) => [...registry]));
  return {
    newCalls: () =>
      openClients().flatMap(({ name, registry }) =>
        [...registry]
          .filter((call) => !calls.has(call))
          .map((call) => {
            const { path, received, openedAt } = call.describe();
            const where = openedAt === undefined ? '' : `, opened at ${openedAt}`;
            return `call ${path} of client '${name}': still open, ${received} messages received${where}`;
          }),
      ),
    newClients: () => openClients().filter((client) => !clients.has(client)),
  };
}
