import dns from 'node:dns';

/** Name servers ('host:port') by the names that they resolve. */
const nameServers = new Map<string, string>();
let isInstalled = false;

/**
 * Makes `dns.promises.lookup()` query the server at `nameServer` for `name`, as if the machine were configured to use it. Other names are
 * resolved as before. Returns a function that restores the lookup of `name`.
 */
export function resolveAt(name: string, nameServer: string): () => void {
  install();
  nameServers.set(name, nameServer);
  return () => nameServers.delete(name);
}

function install(): void {
  if (isInstalled) return;
  isInstalled = true;
  const system = dns.promises.lookup;
  const lookup = async (name: string, options: dns.LookupAllOptions): Promise<dns.LookupAddress[]> => {
    const nameServer = nameServers.get(name);
    if (nameServer === undefined) return system(name, options);
    const resolver = new dns.promises.Resolver({ timeout: 1_000, tries: 1 });
    resolver.setServers([nameServer]);
    const addresses = await resolver.resolve4(name);
    return addresses.map((address) => ({ address, family: 4 }));
  };
  // The cast is safe because grpc-js looks up all addresses.
  dns.promises.lookup = lookup as typeof dns.promises.lookup;
}
