import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { TLS_PARTS, readTlsPart, type TlsMaterial, type TlsOptions } from '../channel/tls/tls-material.js';

/**
 * Creates credentials with the same authorities, ciphers, server name, and ALPN as those of a client, through grpc-js's own connector.
 * The only difference: an untrusted certificate does not fail the handshake, so that it can be examined.
 */
export function probeCredentials(options: TlsOptions): ChannelCredentials {
  const material: TlsMaterial = {};
  for (const part of TLS_PARTS) {
    const read = readTlsPart(part, options[part]);
    // Creating the client from the same options has already reported unreadable files.
    if (Buffer.isBuffer(read)) material[part] = read;
  }
  const { ca, cert, key } = material;
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null, { rejectUnauthorized: false });
}
