import { credentials, type ChannelCredentials } from '@grpc/grpc-js';
import { TLS_PARTS, readTlsPart, type TlsMaterial, type TlsOptions } from '../channel/tls/tls-material.js';

/**
 * TLS as the client makes it, by grpc-js's own connector: its authorities, ciphers, name and ALPN. But for one thing: a certificate
 * that it would refuse is let through, to be looked at.
 */
export function probeCredentials(options: TlsOptions): ChannelCredentials {
  const material: TlsMaterial = {};
  for (const part of TLS_PARTS) {
    const read = readTlsPart(part, options[part]);
    // What cannot be read was told when the client was made of the same options.
    if (Buffer.isBuffer(read)) material[part] = read;
  }
  const { ca, cert, key } = material;
  return credentials.createSsl(ca ?? null, key ?? null, cert ?? null, { rejectUnauthorized: false });
}
