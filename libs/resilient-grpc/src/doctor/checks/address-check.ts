import { duration } from '../../telemetry/log/log-text.js';
import { resultsOf, type CheckResult, type Finding } from '../check-result.js';
import type { ConnectionFailure } from '../open-connection.js';
import type { ConnectionProbeResult, ProbedAddress } from '../probe-connection.js';
import { addressText, kindOf } from '../target-address.js';

const NOT_LISTENING = 'check that the server is running and listens on this port';

const TCP_FAILURES: Readonly<Record<string, Finding>> = {
  ECONNREFUSED: [
    'refused the connection: the host is up, but nothing listens on this port',
    'check that the server is running, listens on this port, and is bound to 0.0.0.0 instead of 127.0.0.1',
  ],
  timeout: [
    'does not respond',
    'check that the host is up, and that no firewall, security group, or network policy drops the packets',
  ],
  ECONNRESET: ['reset the connection', 'check the proxy, service mesh, or load balancer in front of the server'],
  EHOSTUNREACH: ['is unreachable: no route to the host', 'check that the host is up and reachable from this network'],
  ENETUNREACH: [
    'is unreachable: no route to its network',
    'check that this host has IPv6 connectivity if the address is an IPv6 address',
  ],
  ENOENT: ['does not exist', 'check that the server is running and uses the same socket path'],
  EACCES: ['cannot be opened: permission denied', 'give this user write permission on the socket'],
};

const TLS_ALERTS: readonly (readonly [RegExp, Finding])[] = [
  [
    /CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|HANDSHAKE_FAILURE/,
    [
      'requires a client certificate, or rejects the one it received',
      'set tls: { cert, key } in the client (here: --cert and --key) with a certificate from an authority that the server trusts',
    ],
  ],
  [
    /NO_APPLICATION_PROTOCOL/,
    [
      'does not offer HTTP/2 (ALPN)',
      'if an HTTP/1 load balancer is in front of the server, enable HTTP/2 or TCP passthrough there',
    ],
  ],
  [
    /UNRECOGNIZED_NAME/,
    [
      'does not recognize the requested server name (SNI)',
      'set the expected name: tls: { serverName } in the client (here: --server-name NAME)',
    ],
  ],
  [
    /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/,
    ['supports no TLS version that Node supports', 'enable TLS 1.2 or 1.3 on the server'],
  ],
];

/**
 * Reports the probe results of one address.
 *
 * @param hasOther true if another address is usable; clients then use that one, and a failure of this one is only a warning
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

function failureFinding(probed: ProbedAddress, { phase, code, message }: ConnectionFailure): Finding {
  const { secure, probe, toggledTlsProbe } = probed;
  if (phase === 'tcp') {
    const [what, remedy] = TCP_FAILURES[code] ?? [`cannot be reached: ${message}`, 'look up the system error'];
    const isHere = code === 'ECONNREFUSED' && kindOf(probed.address) === 'loopback';
    return [`${what} (${code === 'timeout' ? message : code})`, isHere ? NOT_LISTENING : remedy];
  }
  if (secure && toggledTlsProbe?.readyMs !== undefined) {
    return [
      'uses HTTP/2 without TLS, but the client uses TLS',
      'remove `tls` from the client (here: omit --tls and --ca)',
    ];
  }
  if (!secure && (code === 'tls' || toggledTlsProbe?.tlsMs !== undefined)) {
    return [
      'uses TLS, but the client does not',
      'set tls: {} in the client, or tls: { ca } for a private authority (here: --tls or --ca FILE)',
    ];
  }
  const http1 = [probe, toggledTlsProbe].find((one) => one?.failure?.code === 'http1')?.failure;
  if (http1 !== undefined) {
    return [
      `responds with HTTP/1 ('${http1.message}'), but gRPC requires HTTP/2`,
      'a load balancer or web server responds: configure gRPC or end-to-end HTTP/2 there, or use the gRPC port',
    ];
  }
  for (const [pattern, [what, remedy]] of TLS_ALERTS) if (pattern.test(code)) return [`${what} (${code})`, remedy];
  return otherFinding(probe, { phase, code, message });
}

function otherFinding(probe: ConnectionProbeResult, { phase, code, message }: ConnectionFailure): Finding {
  const awaited = phase === 'tls' ? 'the TLS handshake' : 'HTTP/2 SETTINGS';
  const missing = phase === 'tls' ? 'does not complete the TLS handshake' : 'sends no HTTP/2 SETTINGS';
  switch (code) {
    case 'timeout':
      return [
        `accepts the connection but ${missing}${steps(probe)}: ${message}`,
        'check if the process is stuck, a proxy accepts connections without a reachable server, or another service uses the port',
      ];
    case 'closed':
    case 'ECONNRESET':
    case 'EPIPE':
      return [
        `accepts the connection but closes it before ${awaited} (${code})`,
        'check for a proxy without a reachable server, a server that is shutting down, or another service on the port; see its log',
      ];
    case 'goaway':
      return ['sends GOAWAY immediately', 'the server is shutting down or overloaded; clients reconnect automatically'];
    default:
      return [
        `fails at ${awaited}: ${message} (${code})`,
        'the server uses another protocol; check that this is the gRPC port',
      ];
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
