import { duration } from '../../telemetry/log/log-text.js';
import type { CheckResult } from '../check-result.js';
import type { ConnectionFailure } from '../open-connection.js';
import type { ConnectionProbeResult } from '../probe-connection.js';
import { addressText, kindOf, type TargetAddress } from '../target-address.js';

/** The probe results of one address. */
export interface ProbedAddress {
  readonly address: TargetAddress;
  readonly secure: boolean;
  readonly probe: ConnectionProbeResult;
  /** The result with TLS turned on instead of off or vice versa; `undefined` if not tried. Tried if the first probe failed after TCP. */
  readonly otherway: ConnectionProbeResult | undefined;
}

/** True if a client would become READY at the address. */
export function isUsable({ probe }: ProbedAddress): boolean {
  return probe.readyMs !== undefined;
}

type Words = readonly [says: string, remedy: string];

const NOT_LISTENING = 'is the server running, and on this port?';

const TCP_WORDS: Readonly<Record<string, Words>> = {
  ECONNREFUSED: [
    'refused the connection: the host is there, and nothing listens on this port',
    'is the server running, on this port, and on 0.0.0.0 and not on its own 127.0.0.1?',
  ],
  timeout: [
    'does not answer at all',
    'look for a firewall, a security group or a network policy that drops the connection, or a host that is gone',
  ],
  ECONNRESET: ['reset the connection', 'look at what stands before the server: a proxy, a mesh, a load balancer'],
  EHOSTUNREACH: ['cannot be reached: there is no way to the host', 'is it in this network, and up?'],
  ENETUNREACH: [
    'cannot be reached: there is no way to its network',
    'is this an IPv6 address where there is IPv4 alone?',
  ],
  ENOENT: ['is no socket: there is no such file', 'is the server running, and is the path the same for both?'],
  EACCES: ['may not be opened', 'give this user the right to write to the socket'],
};

const ALERTS: readonly (readonly [RegExp, Words])[] = [
  [
    /CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|HANDSHAKE_FAILURE/,
    [
      'wants a certificate of the client, or refuses the one it got',
      'mutual TLS: tls: { cert, key } of the client, --cert and --key here, issued by an authority that the server trusts',
    ],
  ],
  [
    /NO_APPLICATION_PROTOCOL/,
    ['does not offer HTTP/2 (ALPN)', 'an HTTP/1 load balancer stands there: have it speak HTTP/2, or pass TCP through'],
  ],
  [
    /UNRECOGNIZED_NAME/,
    [
      'does not know the name that TLS asked for (SNI)',
      'say the name it knows: tls: { serverName } of the client, --server-name here',
    ],
  ],
  [
    /PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL/,
    ['speaks no version of TLS that Node does', 'switch TLS 1.2 or 1.3 on there'],
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
  const facts = {
    address: where,
    kind: kindOf(address),
    tcpMs: rounded(probe.tcpMs),
    tlsMs: rounded(probe.tlsMs),
    readyMs: rounded(probe.readyMs),
    protocol: probe.tls?.protocol,
    alpn: probe.tls?.alpn,
    failure: probe.failure,
  };
  const failed = (says: string, remedy: string): CheckResult => {
    const status = hasOther ? 'warning' : 'failed';
    return { check: 'address', status, says: `${where} ${says}`, remedy, facts };
  };
  if (probe.failure !== undefined) return failed(...failureWords(probed, probe.failure));
  if (probe.tls?.refused !== undefined) {
    return failed(`answers, and the client refuses its certificate${steps(probe)}`, 'see the certificate below');
  }
  const says = `${where}${steps(probe)}`;
  if (probe.tls !== undefined && probe.tls.alpn !== 'h2') {
    const remedy = 'clients in Go and Java refuse that, Node does not: have the server offer h2';
    return { check: 'address', status: 'warning', says: `${says}; ALPN did not agree on h2`, remedy, facts };
  }
  return { check: 'address', status: 'ok', says, facts };
}

function failureWords(probed: ProbedAddress, { phase, code, message }: ConnectionFailure): Words {
  const { secure, probe, otherway } = probed;
  if (phase === 'tcp') {
    const [says, remedy] = TCP_WORDS[code] ?? [`cannot be connected to: ${message}`, 'see what the system says'];
    const isHere = code === 'ECONNREFUSED' && kindOf(probed.address) === 'loopback';
    return [`${says} (${code === 'timeout' ? message : code})`, isHere ? NOT_LISTENING : remedy];
  }
  if (secure && otherway?.readyMs !== undefined) {
    return [
      'speaks HTTP/2 without TLS, and the client has TLS on',
      'leave `tls` out of the client, and --tls and --ca out here',
    ];
  }
  if (!secure && (code === 'tls' || otherway?.tlsMs !== undefined)) {
    return [
      'speaks TLS, and the client does not',
      'tls: {} of the client, tls: { ca } where the authority is your own; --tls or --ca FILE here',
    ];
  }
  const http1 = [probe, otherway].find((one) => one?.failure?.code === 'http1')?.failure;
  if (http1 !== undefined) {
    return [
      `answers HTTP/1 ('${http1.message}'), and gRPC needs HTTP/2`,
      'a load balancer or a web server stands there: set it to gRPC or HTTP/2 up to the server, or name the port of gRPC',
    ];
  }
  for (const [pattern, words] of ALERTS) if (pattern.test(code)) return [`${words[0]} (${code})`, words[1]];
  return silentWords(probe, { phase, code, message });
}

function silentWords(probe: ConnectionProbeResult, { phase, code, message }: ConnectionFailure): Words {
  const awaited = phase === 'tls' ? 'the TLS handshake' : 'HTTP/2 SETTINGS';
  switch (code) {
    case 'timeout':
      return [
        `accepts the connection and stays silent${steps(probe)}: no ${awaited.replace('the ', '')}, ${message}`,
        'the process is stuck, or a proxy accepts for a server that is gone; look at both, or whether the port is another service',
      ];
    case 'closed':
    case 'ECONNRESET':
    case 'EPIPE':
      return [
        `accepts the connection and ends it before ${awaited} (${code})`,
        'a proxy without a server behind it, a server that is closing, or a port of another service: look at its log',
      ];
    case 'goaway':
      return ['is on its way out: GOAWAY at once', 'it is shutting down, or full; the client tries again by itself'];
    default:
      return [`fails at ${awaited}: ${message} (${code})`, 'it speaks something else: is it the port of gRPC?'];
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
