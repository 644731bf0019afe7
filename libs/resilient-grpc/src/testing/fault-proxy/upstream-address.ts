import { problemMessage } from '../../policy/options/describe-value.js';

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
  const [, host = '', digits] = /^([^:/\[\]\s]+|\[[^/\[\]\s]+\]):(\d+)$/.exec(String(address)) ?? [];
  if (digits === undefined)
    throw new TypeError(`${proxy}: ${problemMessage("an upstream in the form 'host:port'", address)}`);
  const port = Number(digits);
  if (port < 1 || port > 65_535)
    throw new TypeError(`${proxy}: ${problemMessage('an upstream with a port from 1 to 65535', address)}`);
  return { host: host.replace(/^\[|\]$/g, ''), port };
}
