import type { ReconnectClass } from '../reconnect/early-reconnect.js';

/**
 * Kind of a failed connection attempt. docs/errors.md explains each. A minor version may add kinds; handle unknown ones in a default
 * branch.
 */
export type ConnectFailureKind =
  /** ECONNREFUSED. */
  | 'refused'
  /** ECONNREFUSED on a Unix socket that exists. */
  | 'socket-refused'
  /** ECONNRESET. */
  | 'reset'
  /** ECONNRESET before the server has sent any part of its TLS handshake. */
  | 'reset-in-tls'
  /** ETIMEDOUT, or no TCP connection within the connect timeout. */
  | 'no-response'
  /** EHOSTUNREACH. */
  | 'host-unreachable'
  /** ENETUNREACH. */
  | 'network-unreachable'
  /** ENOENT: no such Unix socket. */
  | 'no-such-socket'
  /** EACCES, for a Unix socket or a prohibited connection. */
  | 'permission-denied'
  /** The name of the target does not resolve. */
  | 'name-not-resolved'
  /** The resolver of a target other than a DNS name (for example, a `kubernetes:` target) found no endpoints. */
  | 'target-not-resolved'
  /** The channel credentials failed, or were not ready within the connect timeout, so no connection was attempted. */
  | 'credentials-not-ready'
  /** The HTTP proxy refused the CONNECT request, closed its connection, or is unreachable. */
  | 'proxy-failed'
  /** The HTTP proxy did not respond to the CONNECT request within the connect timeout. */
  | 'proxy-no-response'
  /** The peer accepted the TCP connection, but did not respond within the connect timeout. */
  | 'silent'
  /** The peer closed the connection without an HTTP/2 response. */
  | 'closed'
  /**
   * The peer closed the connection during or after the TLS handshake, without an HTTP/2 response. It may have rejected the client
   * certificate.
   */
  | 'closed-in-tls'
  /** Only the server uses TLS. */
  | 'server-uses-tls'
  /** Only the client uses TLS. */
  | 'server-without-tls'
  /** The peer sent something other than HTTP/2. */
  | 'not-http2'
  /** TLS without the ALPN protocol h2. */
  | 'no-http2-in-tls'
  /** The server requires a client certificate, or rejects the one it received. */
  | 'client-certificate'
  /** The server ended the TLS connection, and this client's own certificate has expired or is not valid yet. */
  | 'client-certificate-invalid'
  /** The server does not recognize the requested server name (SNI). */
  | 'unknown-server-name'
  /** No common version of TLS. */
  | 'tls-version'
  /** Any other failed TLS handshake. */
  | 'tls-failed'
  /** The server's certificate has expired. */
  | 'certificate-expired'
  /** The server's certificate is not valid yet. */
  | 'certificate-not-yet-valid'
  /** The server's certificate is for a different name. */
  | 'certificate-name'
  /** The server's certificate is self-signed, and the client does not trust it. */
  | 'certificate-self-signed'
  /** The client does not trust the certificate authority that issued the certificate. */
  | 'certificate-untrusted'
  /** Any other rejected certificate, such as a revoked one. */
  | 'certificate-rejected'
  /** The connections are established, but no endpoint's health status permits calls. */
  | 'not-serving'
  /** Any other failure. */
  | 'other';

/** Explanation of one kind of failed connection attempt. Clients and the doctor use the same sentences. */
export interface ConnectFailureRow {
  /** The failure as a predicate; its subject is the address or the name. */
  readonly cause: string;
  /** Remedy, as an imperative. */
  readonly remedy: string;
  /** Doctor options equivalent to the client option in `remedy`, such as '--cert and --key'. */
  readonly doctorOption?: string;
  /** Class that determines how soon the client reconnects. */
  readonly reconnect: ReconnectClass;
}

const CA_OPTION = '--ca FILE';

/** The explanations of all kinds. */
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
    reconnect: 'other',
  },
  'network-unreachable': {
    cause: 'is unreachable: no route to its network',
    remedy: 'check that this host has a network connection, and IPv6 if the address is an IPv6 address',
    reconnect: 'other',
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
    reconnect: 'other',
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
    remedy: 'check the source of the channel credentials, such as a certificate provider',
    // An early attempt would only query the source of the credentials again.
    reconnect: 'other',
  },
  'proxy-failed': {
    cause: 'did not open a connection to the server',
    remedy:
      'check that the proxy runs and permits CONNECT to the server; to bypass it, set grpc.enable_http_proxy: 0 in channelOptions, or no_proxy for one host',
    reconnect: 'other',
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
    reconnect: 'other',
  },
  'client-certificate': {
    cause: 'requires a client certificate, or rejects the one it received',
    remedy: 'set tls: { cert, key } in the client with a certificate from an authority that the server trusts',
    doctorOption: '--cert and --key',
    reconnect: 'other',
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
    reconnect: 'other',
  },
  'tls-version': {
    cause: 'supports no TLS version that Node supports',
    remedy: 'enable TLS 1.2 or 1.3 on the server',
    reconnect: 'other',
  },
  'tls-failed': {
    cause: 'fails the TLS handshake',
    remedy: 'compare the TLS settings of the client and the server',
    reconnect: 'other',
  },
  'certificate-expired': {
    cause: 'sends an expired certificate',
    remedy: 'renew the certificate on the server, and check its automatic renewal',
    reconnect: 'other',
  },
  'certificate-not-yet-valid': {
    cause: 'sends a certificate that is not valid yet',
    remedy: 'compare the clocks of client and server',
    reconnect: 'other',
  },
  'certificate-name': {
    cause: 'sends a certificate for a different name',
    remedy: 'connect to a name in the certificate, or set it in the client: tls: { serverName }',
    doctorOption: '--server-name NAME',
    reconnect: 'other',
  },
  'certificate-self-signed': {
    cause: 'sends a self-signed certificate that the client does not trust',
    remedy: 'set the certificate itself as the authority: tls: { ca } in the client',
    doctorOption: CA_OPTION,
    reconnect: 'other',
  },
  'certificate-untrusted': {
    cause: 'sends a certificate whose authority the client does not trust',
    remedy: 'set the certificate authority: tls: { ca } in the client, or configure the server to send the full chain',
    doctorOption: CA_OPTION,
    reconnect: 'other',
  },
  'certificate-rejected': {
    cause: 'sends a certificate that the client rejects',
    remedy:
      'check the purpose, the signature, and the revocation list of the certificate, and the authority that tls: { ca } sets in the client',
    doctorOption: CA_OPTION,
    reconnect: 'other',
  },
  'not-serving': {
    cause: 'is not serving',
    remedy: 'check the health that the server reports, and the service name in healthCheckConfig',
    reconnect: 'other',
  },
  other: { cause: 'cannot be reached', remedy: 'check the server and the network', reconnect: 'other' },
};
