/** DNS name of a target. */
export interface DnsName {
  /** Host name or address, without a port. */
  readonly host: string;
  /** 'ip' or 'ip:port' of the name server to query; `undefined` for the system's name servers. */
  readonly authority: string | undefined;
}

// 'dns:' and its authority are optional. Other schemes do not have DNS names.
const TARGET = /^(?:dns:(?:\/\/([^/]*)\/)?)?(\[[^\]]*\]|[^:/[\]]+)(?::\d+)?$/;

/** Returns the DNS name of a target with the scheme `dns:` or without a scheme; `undefined` for other schemes. */
export function dnsNameOf(target: string): DnsName | undefined {
  const [, authority, host] = TARGET.exec(target) ?? [];
  if (host === undefined) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), authority: authority === '' ? undefined : authority };
}
