import type { Socket } from 'node:net';
import type { X509Certificate } from 'node:crypto';
import { ENOUGH, PREFACE, firstLine, detectProtocol } from './detect-protocol.js';
import { openConnection, step, tlsOf, type ConnectionFailure, type ConnectionWay } from './open-connection.js';
import type { TargetAddress } from './target-address.js';

/** The result of connecting to one address. Times are in milliseconds from the start. */
export interface ConnectionProbeResult {
  readonly tcpMs?: number;
  readonly tlsMs?: number;
  /** Time until HTTP/2 SETTINGS arrived, which makes a channel READY. */
  readonly readyMs?: number;
  readonly tls?: ProbedTls;
  readonly failure?: ConnectionFailure;
}

/** The result of a TLS handshake. */
export interface ProbedTls {
  readonly protocol: string;
  /** The protocol negotiated by ALPN; `undefined` if none. */
  readonly alpn: string | undefined;
  readonly certificate: X509Certificate | undefined;
  /** The code for which a client rejects the certificate: an OpenSSL code or ERR_TLS_CERT_ALTNAME_INVALID. `undefined` if accepted. */
  readonly refused: string | undefined;
}

/** Connects to one address like a client and closes the connection. Stops at a rejected certificate, like a client. */
export async function probeConnection(address: TargetAddress, way: ConnectionWay): Promise<ConnectionProbeResult> {
  const { clock } = way.budget;
  const startedAt = clock.now();
  const { socket, ...opened } = await openConnection(address, way);
  try {
    const tls = opened.failure === undefined ? tlsFacts(socket) : undefined;
    const soFar = { ...opened, ...(tls && { tls }) };
    if (opened.failure !== undefined || tls?.refused !== undefined) return soFar;
    const greeted = await step(way, 'http2', greet(socket));
    if ('failure' in greeted) return { ...soFar, failure: greeted.failure };
    return { ...soFar, readyMs: clock.now() - startedAt };
  } finally {
    socket.destroy();
  }
}

function tlsFacts(socket: Socket): ProbedTls | undefined {
  const tls = tlsOf(socket);
  if (tls === undefined) return undefined;
  // Typed as an Error, but Node sets a string with the error code.
  const error: unknown = tls.authorizationError;
  const refused = error instanceof Error ? error.message : typeof error === 'string' ? error : 'not authorized';
  return {
    protocol: tls.getProtocol() ?? 'TLS',
    alpn: typeof tls.alpnProtocol === 'string' ? tls.alpnProtocol : undefined,
    certificate: tls.getPeerX509Certificate(),
    refused: tls.authorized ? undefined : refused,
  };
}

/** Resolves when the server has sent SETTINGS. Rejects with the socket's error, or with the response if that is not HTTP/2. */
async function greet(socket: Socket): Promise<void> {
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
      const spoken = detectProtocol(read);
      if (spoken === 'http2') resolve();
      else if (spoken !== 'unknown' || read.length >= ENOUGH) reject(answered(read));
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
