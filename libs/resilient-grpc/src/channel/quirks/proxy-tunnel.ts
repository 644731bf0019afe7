import type { ChannelOptions } from '@grpc/grpc-js';
import { connectTarget, openTunnel } from '../subchannel/http-tunnel.js';
import type { RealSubchannel } from './subchannel.js';

/**
 * Replaces the function of `subchannel` that connects through an HTTP proxy, if `options` require a proxy. grpc-js's function cannot be
 * aborted, does not report why the proxy failed, and keeps the socket of a refused request open. Returns `subchannel`.
 */
export function withAbortableTunnel(subchannel: RealSubchannel, options: ChannelOptions): RealSubchannel {
  const { connector } = subchannel;
  if (connector?.tcpConnect !== undefined && connectTarget(options) !== undefined) connector.tcpConnect = openTunnel;
  return subchannel;
}
