import type { X509Certificate } from 'node:crypto';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { systemClock } from '../time/clock.js';
import { DETECTION_BYTES, PREFACE, firstLine, detectProtocol } from './detect-protocol.js';
import {
  openConnection,
  probeCredentials,
  step,
  type ConnectionFailure,
  type ConnectParameters,
} from './open-connection.js';
import type { TargetAddress } from './target-address.js';
import { isError } from '../errors/error-message.js';

/** The result of connecting to one address. Times are in milliseconds from the start of the connection attempt. */
export interface ConnectionProbeResult {
  readonly tcpMs?: number;
  readonly tlsMs?: number;
  /** Time until HTTP/2 SETTINGS arrived, which makes a channel READY. */
  readonly readyMs?: number;
  readonly tls?: ProbedTls;
  readonly failure?: ConnectionFailure;
  /** Bytes that the peer sent before a failure; after a TLS handshake, only the bytes that followed it, decrypted. */
  readonly receivedBytes?: number;
}

/** The result of a TLS handshake. */
export interface ProbedTls {
  readonly protocol: string;
  /** The protocol negotiated by ALPN; `undefined` if none. */
  readonly alpn: string | undefined;
  readonly certificate: X509Certificate | undefined;
  /**
   * The reason why a client rejects the certificate: an OpenSSL code, ERR_TLS_CERT_ALTNAME_INVALID, or 'not authorized' if Node reports no
   * reason. `undefined` if the certificate is accepted.
   */
  readonly refused: string | undefined;
}

/** The probe results of one address. */
export interface ProbedAddress {
  readonly address: TargetAddress;
  readonly secure: boolean;
  readonly probe: ConnectionProbeResult;
  /** The result of a second probe, with TLS turned on if it was off or vice versa; `undefined` if there was no second probe. */
  readonly toggledTlsProbe: ConnectionProbeResult | undefined;
}

/** Matches OpenSSL's codes for TLS alerts from the peer. Some do not contain 'ALERT', such as ERR_SSL_TLSV1_UNRECOGNIZED_NAME. */
const ALERT_CODE = /_ALERT_|^ERR_SSL_(?:SSLV3|TLSV1|TLSV13)_/;

/**
 * Connects to all addresses in parallel. If TLS or HTTP/2 fails at an address for a reason other than GOAWAY, toggles TLS and tries that
 * address again with half the connect timeout. A server that has completed a TLS handshake or sent a TLS alert is not tried without TLS,
 * because it would log this attempt as another fault.
 */
export function probeAddresses(
  addresses: readonly TargetAddress[],
  parameters: ConnectParameters,
): Promise<readonly ProbedAddress[]> {
  const secure = parameters.tls !== undefined;
  const other: ConnectParameters = {
    ...parameters,
    tls: secure ? undefined : { credentials: probeCredentials({}), serverName: undefined },
    connectTimeoutMs: parameters.connectTimeoutMs / 2,
  };
  return Promise.all(
    addresses.map(async (address) => {
      const probe = await probeConnection(address, parameters);
      const { phase = 'tcp', code = '' } = probe.failure ?? {};
      const usesTls = secure && (probe.tlsMs !== undefined || ALERT_CODE.test(code));
      const isExplained = phase === 'tcp' || code === 'goaway' || usesTls;
      const toggledTlsProbe = isExplained ? undefined : await probeConnection(address, other);
      return { address, secure, probe, toggledTlsProbe };
    }),
  );
}

/** Connects to one address and closes the connection. Like a client, stops if the certificate is rejected. */
async function probeConnection(address: TargetAddress, parameters: ConnectParameters): Promise<ConnectionProbeResult> {
  const startedAt = systemClock.now();
  const { socket, ...opened } = await openConnection(address, parameters);
  try {
    const tls = opened.failure === undefined ? tlsFacts(socket) : undefined;
    const soFar = { ...opened, ...(tls && { tls }) };
    if (opened.failure !== undefined) return { ...soFar, receivedBytes: socket.bytesRead };
    if (tls?.refused !== undefined) return soFar;
    const settings = await step(parameters, 'http2', awaitSettings(socket));
    if ('failure' in settings) return { ...soFar, failure: settings.failure, receivedBytes: socket.bytesRead };
    return { ...soFar, readyMs: systemClock.now() - startedAt };
  } finally {
    socket.destroy();
  }
}

function tlsFacts(socket: Socket): ProbedTls | undefined {
  if (!(socket instanceof TLSSocket)) return undefined;
  // `authorizationError` is typed as an Error, but Node sets a string with the error code.
  const error: unknown = socket.authorizationError;
  const refused = isError(error) ? error.message : typeof error === 'string' ? error : 'not authorized';
  return {
    protocol: socket.getProtocol() ?? 'TLS',
    alpn: typeof socket.alpnProtocol === 'string' ? socket.alpnProtocol : undefined,
    certificate: socket.getPeerX509Certificate(),
    refused: socket.authorized ? undefined : refused,
  };
}

/**
 * Resolves when the server has sent SETTINGS. Rejects if the connection fails or closes first, or if the response does not start with
 * SETTINGS.
 */
async function awaitSettings(socket: Socket): Promise<void> {
  let read = Buffer.alloc(0);
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('close', () => {
      reject(coded('closed', 'the connection was closed'));
    });
    socket.on('end', () => {
      reject(read.length === 0 ? coded('closed', 'the connection was closed') : answered(read));
    });
    socket.on('data', (bytes: Buffer) => {
      read = Buffer.concat([read, bytes]);
      const protocol = detectProtocol(read);
      if (protocol === 'http2') resolve();
      else if (protocol !== 'unknown' || read.length >= DETECTION_BYTES) reject(answered(read));
    });
    socket.write(PREFACE);
  });
}

function answered(bytes: Buffer): Error {
  return coded(detectProtocol(bytes), firstLine(bytes));
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
