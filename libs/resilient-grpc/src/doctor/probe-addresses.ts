import type { TlsOptions } from '../channel/tls/tls-material.js';
import type { ProbedAddress } from './checks/address.js';
import type { ConnectionWay } from './open-connection.js';
import { probeConnection, type ConnectionProbe } from './probe-connection.js';
import { probeCredentials } from './probe-credentials.js';
import type { TargetAddress } from './target-address.js';

/** The way of a client with these options. */
export function clientWay(
  canonicalTarget: string,
  tls: TlsOptions | undefined,
  rest: Pick<ConnectionWay, 'connectTimeoutMs' | 'budget'>,
): ConnectionWay {
  return { canonicalTarget, tls: tls && { credentials: probeCredentials(tls), serverName: tls.serverName }, ...rest };
}

/** Connects to all addresses at once; where one fails behind TCP, once more the other way, with TLS or without. */
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

/** It answered TCP, and does not speak as it should. */
function isUnclear({ failure }: ConnectionProbe): boolean {
  return failure !== undefined && failure.phase !== 'tcp' && failure.code !== 'goaway';
}
