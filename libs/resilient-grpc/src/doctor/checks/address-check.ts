import { connectFailureKind } from '../../policy/connect-failure/connect-failure-kind.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { findingOf, resultsOf, type CheckResult, type Finding } from '../check-result.js';
import type { ConnectionFailure } from '../open-connection.js';
import type { ConnectionProbeResult, ProbedAddress } from '../probe-connection.js';
import { addressText, kindOf } from '../target-address.js';

/**
 * Reports the probe results of one address.
 *
 * @param hasOther true if another address is usable; clients then use that address, and a failure of this address is only a warning
 */
export function addressCheck(probed: ProbedAddress, hasOther = false): CheckResult {
  const { address, probe } = probed;
  const where = addressText(address);
  const result = resultsOf('address', {
    address: where,
    kind: kindOf(address),
    tcpMs: rounded(probe.tcpMs),
    tlsMs: rounded(probe.tlsMs),
    readyMs: rounded(probe.readyMs),
    protocol: probe.tls?.protocol,
    alpn: probe.tls?.alpn,
    failure: probe.failure,
  });
  const failed = (...[message, remedy]: Finding) =>
    result(hasOther ? 'warning' : 'failed', `${where} ${message}`, remedy);
  if (probe.failure !== undefined) return failed(...failureFinding(probed, probe.failure));
  if (probe.tls?.refused !== undefined) {
    return failed(`responds, but the client rejects its certificate${steps(probe)}`, 'see the certificate check below');
  }
  const message = `${where}${steps(probe)}`;
  if (probe.tls !== undefined && probe.tls.alpn !== 'h2') {
    const remedy = 'configure the server to offer h2; Go and Java clients reject a connection without it';
    return result('warning', `${message}; ALPN did not negotiate h2`, remedy);
  }
  return result('ok', message);
}

function failureFinding(probed: ProbedAddress, failure: ConnectionFailure): Finding {
  const { secure, probe, toggledTlsProbe } = probed;
  const { phase, code, message } = failure;
  if (phase === 'tcp') {
    if (code === 'timeout') return findingOf('no-response', message);
    const isUnixSocket = kindOf(probed.address) === 'unix socket';
    const kind = connectFailureKind({ phase, code, isSecure: secure, receivedBytes: 0, isUnixSocket });
    return findingOf(kind, kind === 'other' ? message : code);
  }
  if (secure && toggledTlsProbe?.readyMs !== undefined) return findingOf('server-without-tls', code);
  if (!secure && (code === 'tls' || toggledTlsProbe?.tlsMs !== undefined)) return findingOf('server-uses-tls');
  const http1 = [probe, toggledTlsProbe].find((one) => one?.failure?.code === 'http1')?.failure;
  if (http1 !== undefined) return findingOf('not-http2', `'${http1.message}'`);
  return otherFinding(secure, probe, failure);
}

function otherFinding(
  isSecure: boolean,
  probe: ConnectionProbeResult,
  { phase, code, message }: ConnectionFailure,
): Finding {
  const awaited = phase === 'tls' ? 'the TLS handshake' : 'HTTP/2 SETTINGS';
  switch (code) {
    case 'timeout':
      return findingOf('silent', `${message}, waiting for ${awaited}${steps(probe)}`);
    case 'goaway':
      return ['sends GOAWAY immediately', 'the server is shutting down or overloaded; clients reconnect automatically'];
    case 'unknown':
      return findingOf('not-http2', `'${message}'`);
    default: {
      const { receivedBytes = 0 } = probe;
      const kind = connectFailureKind({ phase, code: code === 'closed' ? undefined : code, isSecure, receivedBytes });
      if (kind === 'closed' || kind === 'closed-in-tls') return findingOf(kind, `before ${awaited}`);
      return findingOf(kind, kind === 'other' ? oneLine(message) : code);
    }
  }
}

/** Formats the steps: ' (TCP 1 ms, TLS 5 ms (TLSv1.3, h2), READY 6 ms)'. */
function steps({ tcpMs, tlsMs, readyMs, tls }: ConnectionProbeResult): string {
  const parts: string[] = [];
  if (tcpMs !== undefined) parts.push(`TCP ${duration(tcpMs)}`);
  if (tlsMs !== undefined)
    parts.push(`TLS ${duration(tlsMs)}${tls ? ` (${[tls.protocol, tls.alpn ?? 'no ALPN'].join(', ')})` : ''}`);
  if (readyMs !== undefined) parts.push(`READY ${duration(readyMs)}`);
  return parts.length === 0 ? '' : ` (${parts.join(', ')})`;
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 10) / 10;
}
