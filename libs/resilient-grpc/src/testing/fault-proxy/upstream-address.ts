/** The address that a proxy connects to. */
export interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Parses 'host:port' or '[::1]:port'.
 * @throws TypeError if `address` has neither form
 */
export function parseUpstream(proxy: 'FaultProxy' | 'Http2FaultProxy', address: string): UpstreamAddress {
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon);
  const port = Number(address.slice(colon + 1));
  const isHost = /^([^:/\[\]\s]+|\[[^/\[\]\s]+\])$/.test(host);
  if (!isHost || !Number.isInteger(port) || port < 1 || port > 65_535) {
    throw new TypeError(`${proxy}: expected an upstream in the form 'host:port', got '${address}'`);
  }
  return { host: host.replace(/^\[|\]$/g, ''), port };
}
