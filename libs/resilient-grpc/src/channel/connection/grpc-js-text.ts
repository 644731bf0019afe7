import type { experimental } from '@grpc/grpc-js';
import { maskCredentials } from '../../errors/mask-credentials.js';

type SubchannelAddress = experimental.SubchannelAddress;

/** Formats an address like grpc-js's `getPeer()`. */
export function addressKey(address: SubchannelAddress): string {
  if (!('port' in address)) return address.path;
  return address.host.includes(':')
    ? `[${address.host}]:${String(address.port)}`
    : `${address.host}:${String(address.port)}`;
}

/** Returns grpc-js's error text of a failed connection without credentials and without its fixed parts. */
export function plainError(error: string): string {
  return maskCredentials(error)
    .replace(/^No connection established\. Last error: /, '')
    .replace(/\. Resolution note: $/, '')
    .replace(/^(?:Error: )+/, '')
    .replace(/ \(\d{4}-\d\d-\d\dT[\d:.]+Z\)$/, '');
}
