import { BlockList, isIPv6 } from 'node:net';
import type { experimental } from '@grpc/grpc-js';

/** The address of a connection. */
export type TargetAddress = experimental.SubchannelAddress;

/** The kind of an address, derived from its network. */
export type AddressKind = 'loopback' | 'private' | 'link-local' | 'any' | 'public' | 'unix socket';

const KINDS: readonly (readonly [AddressKind, readonly string[]])[] = [
  ['loopback', ['127.0.0.0/8', '::1/128']],
  ['link-local', ['169.254.0.0/16', 'fe80::/10']],
  ['private', ['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '100.64.0.0/10', 'fc00::/7']],
  ['any', ['0.0.0.0/32', '::/128']],
];

/** Returns the kind of `address`. An unexpected kind may reveal a wrong /etc/hosts entry or split DNS. */
export function kindOf(address: TargetAddress): AddressKind {
  if (!('host' in address)) return 'unix socket';
  const family = isIPv6(address.host) ? 'ipv6' : 'ipv4';
  for (const [kind, networks] of KINDS) if (blockListOf(networks).check(address.host, family)) return kind;
  return 'public';
}

/** Formats an address: '10.0.0.7:50051', '[::1]:50051', '/run/orders.sock'. */
export function addressText(address: TargetAddress): string {
  if (!('host' in address)) return address.path;
  return `${isIPv6(address.host) ? `[${address.host}]` : address.host}:${String(address.port)}`;
}

function blockListOf(networks: readonly string[]): BlockList {
  const list = new BlockList();
  for (const network of networks) {
    const [ip = '', bits] = network.split('/');
    list.addSubnet(ip, Number(bits), isIPv6(ip) ? 'ipv6' : 'ipv4');
  }
  return list;
}
