import type { TlsOptions } from '../channel/tls/tls-material.js';
import type { ProbedAddress } from './checks/address-check.js';
import type { ConnectionWay } from './open-connection.js';
import { probeConnection, type ConnectionProbeResult } from './probe-connection.js';
import { probeCredentials } from './probe-credentials.js';
import type { TargetAddress } from './target-address.js';

/** Returns the connection parameters of a client with these options. */
export function clientWay(
  canonicalTarget: string,
  tls: TlsOptions | undefined,
  rest: Pick<ConnectionWay, 'connectTimeoutMs' | 'budget'>,
): ConnectionWay {
  return { canonicalTarget, tls: tls && { credentials: probeCredentials(tls), serverName: tls.serverName }, ...rest };
}

/** Connects to all addresses in parallel. If a connection fails after TCP, tries again with TLS turned on or off. */
export function probeAddresses(
  addresses: readonly TargetAddress[],
  way: ConnectionWay,
): Promise<readonly ProbedAddress[]> {
  const secure = way.tls !== undefined;
  const other: ConnectionWay = {
    ...way,
    tls: secure ? undefined : { credentials: probeCredentials({}), serverName: undefined },
    connectTimeoutMs: way.connectTimeoutMs / 2,
  };
  return Promise.all(
    addresses.map(async (address) => {
      const probe = await probeConnection(address, way);
      const otherway = isUnclear(probe) ? await probeConnection(address, other) : undefined;
      return { address, secure, probe, otherway };
    }),
  );
}

/** True if TCP connected but TLS or HTTP/2 failed, except by GOAWAY. */
function isUnclear({ failure }: ConnectionProbeResult): boolean {
  return failure !== undefined && failure.phase !== 'tcp' && failure.code !== 'goaway';
}
