/** The address that a proxy connects to. */
export interface UpstreamAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * Parses 'host:port' or '[::1]:port'. JavaScript callers can pass any value.
 * @throws TypeError if `address` has neither form, or the port is not from 1 to 65,535
 */
export function parseUpstream(proxy: 'FaultProxy' | 'Http2FaultProxy', address: unknown): UpstreamAddress {
  const text = String(address);
  const [, host = '', digits] = /^([^:/\[\]\s]+|\[[^/\[\]\s]+\]):(\d+)$/.exec(text) ?? [];
  if (digits === undefined)
    throw new TypeError(`${proxy}: expected an upstream in the form 'host:port', got '${text}'`);
  const port = Number(digits);
  if (port < 1 || port > 65_535)
    throw new TypeError(`${proxy}: expected an upstream with a port from 1 to 65535, got '${text}'`);
  return { host: host.replace(/^\[|\]$/g, ''), port };
}
