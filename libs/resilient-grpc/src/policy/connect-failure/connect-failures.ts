import type { ReconnectClass } from '../reconnect/reconnect-times.js';

export interface ConnectFailureFacts {
  readonly phase: 'tcp' | 'tls' | 'http2';
  /** Error code from Node or OpenSSL; `undefined` if the code is unknown, or if the peer closed the connection without an error. */
  readonly code: string | undefined;
  readonly isSecure: boolean;
  /** Number of bytes that the peer sent; after a TLS handshake, the number of decrypted bytes that followed the handshake. */
  readonly receivedBytes: number;
  /** True if the address is the path of a Unix socket. @defaultValue false */
  readonly isUnixSocket?: boolean;
}

const BY_CODE: Readonly<Record<string, ConnectFailureKind>> = {
  ECONNREFUSED: 'refused',
  ECONNRESET: 'reset',
  EPIPE: 'closed',
  ETIMEDOUT: 'no-response',
  EHOSTUNREACH: 'host-unreachable',
  ENETUNREACH: 'network-unreachable',
  ENOENT: 'no-such-socket',
  EACCES: 'permission-denied',
  ENOTFOUND: 'name-not-resolved',
  EAI_AGAIN: 'name-not-resolved',
  ERR_HTTP2_ERROR: 'not-http2',
  ERR_SSL_WRONG_VERSION_NUMBER: 'server-without-tls',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'server-without-tls',
  ERR_SSL_HTTP_REQUEST: 'server-without-tls',
  ERR_TLS_CERT_ALTNAME_INVALID: 'certificate-name',
  CERT_HAS_EXPIRED: 'certificate-expired',
  CERT_NOT_YET_VALID: 'certificate-not-yet-valid',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'certificate-self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'certificate-untrusted',
  UNABLE_TO_GET_ISSUER_CERT: 'certificate-untrusted',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'certificate-untrusted',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'certificate-untrusted',
};

/** Patterns, each of which matches a group of codes. Names of TLS alerts differ between versions of TLS and of OpenSSL. */
const BY_PATTERN: readonly (readonly [RegExp, ConnectFailureKind])[] = [
  [
    /^ERR_SSL_.*(?:CERTIFICATE_REQUIRED|BAD_CERTIFICATE|UNKNOWN_CA|CERTIFICATE_UNKNOWN|CERTIFICATE_EXPIRED|HANDSHAKE_FAILURE)/,
    'client-certificate',
  ],
  [/^ERR_SSL_.*NO_APPLICATION_PROTOCOL/, 'no-http2-in-tls'],
  [/^ERR_SSL_.*UNRECOGNIZED_NAME/, 'unknown-server-name'],
  [/^ERR_SSL_.*(?:PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL)/, 'tls-version'],
  [/^ERR_(?:SSL|TLS)_/, 'tls-failed'],
  // The other results of OpenSSL's certificate verification.
  [/CERT|^CRL_|^INVALID_CA$|^INVALID_PURPOSE$|^HOSTNAME_MISMATCH$/, 'certificate-rejected'],
];

/** Length of a TLS alert: a record header of 5 bytes, and an alert of 2 bytes. */
const TLS_ALERT_BYTES = 7;

/** Codes of a connection that the peer closed. `undefined`: it closed the connection without an error. */
const CLOSED: ReadonlySet<string | undefined> = new Set([undefined, 'EPIPE', 'ECONNRESET']);

/**
 * Classifies a failed connection attempt by its error code, or, if the peer closed the connection, by the phase and the number of received
 * bytes. The messages of Node and OpenSSL are ignored.
 */
export function connectFailureKind(facts: ConnectFailureFacts): ConnectFailureKind {
  const { phase, code, isSecure, receivedBytes } = facts;
  if (CLOSED.has(code) && mayRejectClientCertificate(facts)) return 'closed-in-tls';
  if (code === 'ECONNRESET' && phase === 'tls') return 'reset-in-tls';
  if (code === 'ECONNREFUSED' && facts.isUnixSocket === true) return 'socket-refused';
  if (code !== undefined) {
    // The server has sent no more than the alert, so it has not requested a client certificate.
    if (code.endsWith('_HANDSHAKE_FAILURE') && receivedBytes <= TLS_ALERT_BYTES) return 'tls-failed';
    return BY_CODE[code] ?? BY_PATTERN.find(([pattern]) => pattern.test(code))?.[1] ?? 'other';
  }
  if (phase === 'http2' && !isSecure && receivedBytes === TLS_ALERT_BYTES) return 'server-uses-tls';
  return phase === 'tcp' ? 'other' : 'closed';
}

/**
 * True if the server may have closed the connection because of the client certificate. A server requests the certificate after it has sent
 * the start of its handshake, and sends no HTTP/2 frame before it has verified the certificate. With TLS 1.3, the client's handshake ends
 * before this verification. If the verification fails, Node and grpcio close the connection without an alert.
 */
function mayRejectClientCertificate({ phase, isSecure, receivedBytes }: ConnectFailureFacts): boolean {
  if (!isSecure || phase === 'tcp') return false;
  return phase === 'tls' ? receivedBytes > 0 : receivedBytes === 0;
}

/**
 * Kind of a failed connection attempt. docs/reference/errors.md explains each. A minor version may add kinds; handle unknown ones in a default
 * branch.
 */
export type ConnectFailureKind =
  | 'refused'
  | 'socket-refused'
  | 'reset'
  | 'reset-in-tls'
  | 'no-response'
  | 'host-unreachable'
  | 'network-unreachable'
  | 'no-such-socket'
  | 'permission-denied'
  | 'name-not-resolved'
  | 'target-not-resolved'
  | 'credentials-not-ready'
  | 'proxy-failed'
  | 'proxy-no-response'
  | 'silent'
  | 'closed'
  /** Without an HTTP/2 response, during or after the TLS handshake. The server may have rejected the client certificate. */
  | 'closed-in-tls'
  | 'server-uses-tls'
  | 'server-without-tls'
  | 'not-http2'
  | 'no-http2-in-tls'
  | 'client-certificate'
  | 'client-certificate-invalid'
  | 'unknown-server-name'
  | 'tls-version'
  | 'tls-failed'
  | 'certificate-expired'
  | 'certificate-not-yet-valid'
  | 'certificate-name'
  | 'certificate-self-signed'
  | 'certificate-untrusted'
  | 'certificate-rejected'
  | 'not-serving'
  | 'other';

/** Explanation of one kind of failed connection attempt. Clients and the doctor use the same sentences. */
export interface ConnectFailureRow {
  /** The failure as a predicate; its subject is the address or the name. */
  readonly cause: string;
  readonly remedy: string;
  /** Doctor options equivalent to the client option in `remedy`, such as '--cert and --key'. */
  readonly doctorOption?: string;
  /** Class of failures after which the client reconnects before its backoff ends. @defaultValue the backoff is kept */
  readonly reconnect?: ReconnectClass;
}

const CA_OPTION = '--ca FILE';

export const CONNECT_FAILURES: Readonly<Record<ConnectFailureKind, ConnectFailureRow>> = {
  refused: {
    cause: 'refused the connection: nothing is listening on this port',
    remedy: 'check that the server is running on this address and port',
    reconnect: 'refused',
  },
  'socket-refused': {
    cause: 'is a Unix socket on which no process is listening',
    remedy: 'check that the server is running; a server that was killed leaves the file of its socket behind',
    reconnect: 'refused',
  },
  reset: {
    cause: 'reset the connection',
    remedy: 'check the server, and the proxy, service mesh, or load balancer in front of it',
    reconnect: 'refused',
  },
  'reset-in-tls': {
    cause: 'resets the connection when the TLS handshake begins',
    remedy:
      'check that the server uses TLS on this port, and check the proxy, service mesh, or load balancer in front of it',
    doctorOption: 'omit --tls and --ca',
    reconnect: 'refused',
  },
  'no-response': {
    cause: 'does not respond',
    remedy: 'check that the host is up, and that no firewall, security group, or network policy drops the packets',
    reconnect: 'timeout',
  },
  'host-unreachable': {
    cause: 'is unreachable: no route to the host',
    remedy: 'check that the host is up and reachable from this network',
  },
  'network-unreachable': {
    cause: 'is unreachable: no route to its network',
    remedy: 'check that this host has a network connection, and IPv6 if the address is an IPv6 address',
  },
  'no-such-socket': {
    cause: 'does not exist',
    remedy: 'check that the server is running and uses the same socket path',
    reconnect: 'refused',
  },
  'permission-denied': {
    cause: 'cannot be opened: permission denied',
    remedy:
      'give this user write permission on the Unix socket; for an IP address, check the routes and the security policies of this host',
  },
  'name-not-resolved': {
    cause: 'cannot be resolved',
    remedy:
      'check the spelling and namespace of the name (orders.shop.svc.cluster.local), and that this host can reach its name server',
    reconnect: 'refused',
  },
  'target-not-resolved': {
    cause: 'cannot be resolved',
    remedy:
      'check the target and the resolver of its scheme, and that the service has ready endpoints and this process may read them',
    reconnect: 'refused',
  },
  'credentials-not-ready': {
    cause: 'cannot be contacted until the channel credentials are ready',
    // No `reconnect`, because an early attempt would only query the source of the credentials again.
    remedy: 'check the source of the channel credentials, such as a certificate provider',
  },
  'proxy-failed': {
    cause: 'did not open a connection to the server',
    remedy:
      'check that the proxy runs and permits CONNECT to the server; to bypass it, set grpc.enable_http_proxy: 0 in channelOptions, or no_proxy for one host',
  },
  'proxy-no-response': {
    cause: 'does not respond to the CONNECT request',
    remedy:
      'check that the proxy and the server respond; to bypass the proxy, set grpc.enable_http_proxy: 0 in channelOptions, or no_proxy for one host',
    reconnect: 'timeout',
  },
  silent: {
    cause: 'accepts the connection but does not respond',
    remedy: 'check whether the process is stuck, a proxy cannot reach the server, or another service uses the port',
    reconnect: 'timeout',
  },
  closed: {
    cause: 'accepts the connection and closes it without a response',
    remedy:
      'check for TLS on one side only, a proxy that cannot reach the server, a server that is shutting down, or another service on the port',
    reconnect: 'not-http2',
  },
  'closed-in-tls': {
    cause: 'closes the TLS connection without a response',
    remedy:
      'check for a missing or rejected client certificate (tls: { cert, key }), a proxy that cannot reach the server, or a server that is shutting down',
    doctorOption: '--cert and --key',
    // Not 'refused', even after a reset (which may be a close with unread data): early attempts would repeat the server's costly handshake.
    reconnect: 'not-http2',
  },
  'server-uses-tls': {
    cause: 'uses TLS, but the client does not',
    remedy: 'set tls: {} in the client, or tls: { ca } for a private certificate authority',
    doctorOption: '--tls or --ca FILE',
    reconnect: 'not-http2',
  },
  'server-without-tls': {
    cause: 'responds without TLS, but the client uses TLS',
    remedy: 'remove `tls` from the client, or use the port on which the server uses TLS',
    doctorOption: 'omit --tls and --ca',
    reconnect: 'not-http2',
  },
  'not-http2': {
    cause: 'responds with HTTP/1 or another protocol, but gRPC requires HTTP/2',
    remedy: 'use the gRPC port; if a load balancer or web server responds, configure gRPC or end-to-end HTTP/2 there',
    reconnect: 'not-http2',
  },
  'no-http2-in-tls': {
    cause: 'does not offer HTTP/2 in TLS (ALPN)',
    remedy: 'if an HTTP/1 load balancer is in front of the server, enable HTTP/2 or TCP passthrough there',
  },
  'client-certificate': {
    cause: 'requires a client certificate, or rejects the one it received',
    remedy: 'set tls: { cert, key } in the client with a certificate from an authority that the server trusts',
    doctorOption: '--cert and --key',
  },
  'client-certificate-invalid': {
    cause: "ends the TLS connection, and the client's own certificate is not valid now",
    remedy: 'renew the certificate of the client (tls: { cert, key }), and check its automatic renewal and the clock',
    doctorOption: '--cert and --key',
    // As for 'closed-in-tls', because the server may be restarting instead.
    reconnect: 'not-http2',
  },
  'unknown-server-name': {
    cause: 'does not recognize the requested server name (SNI)',
    remedy: 'set the expected name: tls: { serverName } in the client',
    doctorOption: '--server-name NAME',
  },
  'tls-version': {
    cause: 'supports no TLS version that Node supports',
    remedy: 'enable TLS 1.2 or 1.3 on the server',
  },
  'tls-failed': {
    cause: 'fails the TLS handshake',
    remedy: 'compare the TLS settings of the client and the server',
  },
  'certificate-expired': {
    cause: 'sends an expired certificate',
    remedy: 'renew the certificate on the server, and check its automatic renewal',
  },
  'certificate-not-yet-valid': {
    cause: 'sends a certificate that is not valid yet',
    remedy: 'compare the clocks of client and server',
  },
  'certificate-name': {
    cause: 'sends a certificate for a different name',
    remedy: 'connect to a name in the certificate, or set it in the client: tls: { serverName }',
    doctorOption: '--server-name NAME',
  },
  'certificate-self-signed': {
    cause: 'sends a self-signed certificate that the client does not trust',
    remedy: 'set the certificate itself as the authority: tls: { ca } in the client',
    doctorOption: CA_OPTION,
  },
  'certificate-untrusted': {
    cause: 'sends a certificate whose authority the client does not trust',
    remedy: 'set the certificate authority: tls: { ca } in the client, or configure the server to send the full chain',
    doctorOption: CA_OPTION,
  },
  'certificate-rejected': {
    cause: 'sends a certificate that the client rejects',
    remedy:
      'check the purpose, the signature, and the revocation list of the certificate, and the authority that tls: { ca } sets in the client',
    doctorOption: CA_OPTION,
  },
  'not-serving': {
    cause: 'is not serving',
    remedy: 'check the health that the server reports, and the service name in healthCheckConfig',
  },
  other: { cause: 'cannot be reached', remedy: 'check the server and the network' },
};

/** TLS options that the doctor accepts: a server name and file paths. */
export interface DoctorTls {
  readonly serverName?: string | undefined;
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
}

const OPTIONS = { ca: '--ca', cert: '--cert', key: '--key', serverName: '--server-name' } as const;
/** Schemes of targets that the doctor resolves. */
const SCHEMES: ReadonlySet<string> = new Set(['dns', 'ipv4', 'ipv6', 'unix', 'unix-abstract', 'kubernetes']);

/**
 * Returns the shell command that runs the doctor for `target` with the TLS options of the client; `undefined` if the doctor does not
 * support the scheme.
 * @param tls `undefined` if the client does not use TLS
 * @param service service whose health the client checks; '' for the server as a whole, which the doctor checks by default
 */
export function doctorCommand(target: string, tls: DoctorTls | undefined, service = ''): string | undefined {
  const scheme = /^([a-z][a-z\d+.-]*):(?!\d+$)/i.exec(target)?.[1];
  if (scheme !== undefined && !SCHEMES.has(scheme.toLowerCase())) return undefined;
  const options = Object.entries(OPTIONS).flatMap(([key, option]) => {
    const value = tls?.[key as keyof DoctorTls];
    return value === undefined ? [] : [option, quoted(value)];
  });
  if (tls !== undefined && options.length === 0) options.push('--tls');
  if (service !== '') options.push('--service', quoted(service));
  return ['npx nestjs-resilient-grpc doctor', quoted(target), ...options].join(' ');
}

/** Quotes `argument` for a POSIX shell, if it contains characters that a shell would interpret. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`;
}

/** Appends the doctor command, if there is one, to a remedy. The remedy may be empty. */
export function withDoctor(remedy: string, command: string | undefined): string {
  return command === undefined ? remedy : `${remedy}; to diagnose, run: ${command}`;
}
