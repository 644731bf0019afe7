import type { Socket } from 'node:net';
import type { X509Certificate } from 'node:crypto';
import { ENOUGH, PREFACE, firstLine, spokenBy } from './first-bytes.js';
import { openConnection, step, tlsOf, type ConnectionFailure, type ConnectionWay } from './open-connection.js';
import type { TargetAddress } from './target-address.js';

/** How far a connection to one address came. Times are milliseconds from the beginning. */
export interface ConnectionProbe {
  readonly tcpMs?: number;
  readonly tlsMs?: number;
  /** HTTP/2 SETTINGS came: the channel would be READY. */
  readonly readyMs?: number;
  readonly tls?: ProbedTls;
  readonly failure?: ConnectionFailure;
}

/** What a handshake has agreed on. */
export interface ProbedTls {
  readonly protocol: string;
  /** What ALPN agreed on; undefined: nothing. */
  readonly alpn: string | undefined;
  readonly certificate: X509Certificate | undefined;
  /** Why the client refuses the certificate: a code of OpenSSL, or ERR_TLS_CERT_ALTNAME_INVALID. */
  readonly refused: string | undefined;
}

/** Connects to one address as far as a client would, and lets go again. A certificate that is refused ends it, as it would there. */
export async function probeConnection(address: TargetAddress, way: ConnectionWay): Promise<ConnectionProbe> {
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
  // An Error by its type, the code of one by what Node does.
  const error: unknown = tls.authorizationError;
  const refused = error instanceof Error ? error.message : typeof error === 'string' ? error : 'not authorized';
  return {
    protocol: tls.getProtocol() ?? 'TLS',
    alpn: typeof tls.alpnProtocol === 'string' ? tls.alpnProtocol : undefined,
    certificate: tls.getPeerX509Certificate(),
    refused: tls.authorized ? undefined : refused,
  };
}

/** Resolves when the other side has sent SETTINGS; rejects with what it does otherwise, and with its own error where it has one. */
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
      const spoken = spokenBy(read);
      if (spoken === 'http2') resolve();
      else if (spoken !== 'unknown' || read.length >= ENOUGH) reject(answered(read));
    });
    socket.write(PREFACE);
  });
}

function answered(bytes: Buffer): Error {
  return coded(spokenBy(bytes), firstLine(bytes));
}

function coded(code: string, message: string): Error {
  return Object.assign(new Error(message), { code });
}
