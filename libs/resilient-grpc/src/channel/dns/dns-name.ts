/** What a target names in DNS. */
export interface DnsName {
  /** Host name or address, without a port. */
  readonly host: string;
  /** 'ip' or 'ip:port' of the name server to ask; undefined: the system's. */
  readonly authority: string | undefined;
}

// 'dns:' and its authority may be left out. Other schemes have names of another kind, or none.
const TARGET = /^(?:dns:(?:\/\/([^/]*)\/)?)?(\[[^\]]*\]|[^:/[\]]+)(?::\d+)?$/;

/** The name that a target of scheme `dns:`, or of none, asks DNS for; undefined for other schemes. */
export function dnsNameOf(target: string): DnsName | undefined {
  const [, authority, host] = TARGET.exec(target) ?? [];
  if (host === undefined) return undefined;
  return { host: host.replace(/^\[|\]$/g, ''), authority: authority === '' ? undefined : authority };
}
