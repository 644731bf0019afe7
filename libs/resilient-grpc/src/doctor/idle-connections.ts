import { duration } from '../telemetry/log/log-text.js';
import { idleCheck } from './checks/idle-check.js';
import type { CheckResult } from './check-result.js';
import { IdleSession } from './idle-session.js';
import { measureIdle, type IdleProgress } from './measure-idle.js';
import { authorityOf, openConnection, type ConnectParameters } from './open-connection.js';
import type { TargetAddress } from './target-address.js';

/** Measures how long idle connections to `address` last, up to `limitMs`. */
export async function checkIdleConnections(
  address: TargetAddress,
  parameters: ConnectParameters,
  limitMs: number,
  onProgress?: (progress: IdleProgress) => void,
): Promise<CheckResult> {
  const scheme = parameters.tls === undefined ? 'http' : 'https';
  const authority = authorityOf(parameters.canonicalTarget);
  const { connectTimeoutMs } = parameters;
  const open = async (): Promise<IdleSession | string> => {
    const { socket, failure } = await openConnection(address, parameters);
    if (failure !== undefined) {
      socket.destroy();
      return failure.message;
    }
    const session = new IdleSession(socket, scheme, authority);
    // Makes a first call, because proxies apply different timeouts to connections that never carried a call. By default, clients have no
    // such connections.
    const answer = await session.call(connectTimeoutMs);
    session.rest();
    if (answer === 'answered') return session;
    session.close();
    return answer === 'ended' ? 'the connection was closed' : `no response within ${duration(connectTimeoutMs)}`;
  };
  return idleCheck(await measureIdle({ open, limitMs, answerTimeoutMs: connectTimeoutMs, onProgress }), limitMs);
}
