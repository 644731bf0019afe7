/** Where a proxy connects to. */
export interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads 'host:port', '[::1]:port' too.
 * @throws TypeError when it is not that
 */
export function parseUpstream(address: string): UpstreamAddress {
  const colon = address.lastIndexOf(':');
  const port = Number(address.slice(colon + 1));
  if (colon < 1 || !Number.isInteger(port) || port < 1) {
    throw new TypeError(`FaultProxy: expected an upstream as 'host:port', got '${address}'`);
  }
  return { host: address.slice(0, colon).replace(/^\[|\]$/g, ''), port };
}
