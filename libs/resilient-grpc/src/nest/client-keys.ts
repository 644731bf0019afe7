/**
 * Returns a unique key for each client: its name, followed by a number for the second and later clients with the same name, such as
 * 'db (2)'. Names can be equal, because a client named by a symbol has the symbol's description as its name.
 */
export function clientKeys<Client extends { readonly name: string }>(
  clients: readonly Client[],
): ReadonlyMap<Client, string> {
  const taken = new Set(clients.map(({ name }) => name));
  const numbers = new Map<string, number>();
  const keys = new Map<Client, string>();
  for (const client of clients) {
    const { name } = client;
    let number = (numbers.get(name) ?? 0) + 1;
    const numbered = () => (number === 1 ? name : `${name} (${String(number)})`);
    // Skips a numbered key that is the name, and therefore the key, of another client.
    while (number > 1 && taken.has(numbered())) number += 1;
    numbers.set(name, number);
    keys.set(client, numbered());
  }
  return keys;
}
