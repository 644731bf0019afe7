import type { experimental } from '@grpc/grpc-js';

/** Formats an address like grpc-js's `getPeer()`. */
export function addressKey(address: experimental.SubchannelAddress): string {
  if (!('port' in address)) return address.path;
  return address.host.includes(':')
    ? `[${address.host}]:${String(address.port)}`
    : `${address.host}:${String(address.port)}`;
}

export function endpointKeys({ addresses }: experimental.Endpoint): readonly string[] {
  return addresses.map(addressKey);
}
