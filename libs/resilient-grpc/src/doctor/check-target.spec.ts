import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { connectFailure } from '../channel/connection/connect-failure.js';
import { addressCheck, certificateCheck, EXPIRY_WARNING_DAYS } from './check-target.js';
import type { Probe } from './connection.js';

const address = { host: '10.0.0.7', port: 50051 };
const tls = { protocol: 'TLSv1.3', alpn: 'h2', certificate: undefined, refused: undefined };
const ready = { tcpMs: 1, tlsMs: 2, readyMs: 3 };

describe('addressCheck', () => {
  it.each<[string, Probe, string, string]>([
    ['connects', { tcpMs: 1, readyMs: 3 }, 'ok', '10.0.0.7:50051 (TCP 1 ms, READY 3 ms)'],
    ['connects with TLS', { ...ready, tls }, 'ok', '10.0.0.7:50051 (TCP 1 ms, TLS 2 ms (TLSv1.3, h2), READY 3 ms)'],
    ['does not select HTTP/2 by ALPN', { ...ready, tls: { ...tls, alpn: undefined } }, 'warning', 'no ALPN'],
    ['rejects the certificate', { ...ready, tls: { ...tls, refused: 'CERT' } }, 'failed', 'rejects its certificate'],
  ])('reports the status and the time of each step of a connection that %s', (_what, probe, status, message) => {
    expect(addressCheck(address, probe)).toMatchObject({ status, message: expect.stringContaining(message) as string });
  });

  it('reports a failure in the words of a client, with the equivalent option, and only warns if another address works', () => {
    const failure = {
      ...connectFailure('server-uses-tls', '10.0.0.7:50051', undefined),
      phase: 'http2',
      code: 'x',
    } as const;
    expect(addressCheck(address, { tcpMs: 1, failure })).toMatchObject({
      status: 'failed',
      message: '10.0.0.7:50051 uses TLS, but the client does not',
      remedy: expect.stringContaining('(here: --tls or --ca FILE)') as string,
    });
    expect(addressCheck(address, { tcpMs: 1, failure }, true).status).toBe('warning');
  });
});

const FIXTURES = join(import.meta.dirname, '../../../../test/fixtures/tls');
const certificate = new X509Certificate(readFileSync(join(FIXTURES, 'server.pem')));
const DAY_MS = 86_400_000;
const epochMsBeforeExpiry = (days: number) => Date.parse(certificate.validTo) - days * DAY_MS;

function mismatch(subjectAltName: string) {
  const { subject, issuer, validTo } = certificate;
  const other = { subject, issuer, validTo, subjectAltName } as X509Certificate;
  return certificateCheck(other, 'ERR_TLS_CERT_ALTNAME_INVALID', 'orders', 0);
}

describe('certificateCheck', () => {
  it('reports the subject, the issuer, and the names of a certificate, and the days until it expires', () => {
    expect(certificateCheck(certificate, undefined, 'localhost', epochMsBeforeExpiry(90))).toMatchObject({
      status: 'ok',
      message: "CN=server, issued by CN=ca, for localhost, 127.0.0.1; matches 'localhost'; expires in 90 days",
      facts: { expiresInDays: 90, names: ['localhost', '127.0.0.1'] },
    });
  });

  it(`warns if the certificate expires in less than ${String(EXPIRY_WARNING_DAYS)} days`, () => {
    expect(certificateCheck(certificate, undefined, 'localhost', epochMsBeforeExpiry(EXPIRY_WARNING_DAYS)).status).toBe(
      'ok',
    );
    expect(
      certificateCheck(certificate, undefined, 'localhost', epochMsBeforeExpiry(EXPIRY_WARNING_DAYS) + 1),
    ).toMatchObject({
      status: 'warning',
      remedy: 'renew the certificate now; clients cannot connect after it expires',
    });
  });

  it.each([
    [1, /; expires in 1 day$/],
    [0.5, /; expires in 0 days$/],
    [-1, /; expired on \w{3} .* GMT$/],
  ])('states when the certificate expires or expired (days until expiry: %s)', (days, text) => {
    expect(certificateCheck(certificate, undefined, 'localhost', epochMsBeforeExpiry(days)).message).toMatch(text);
  });

  it.each([
    ['CERT_HAS_EXPIRED', 'sends an expired certificate (CERT_HAS_EXPIRED)', 'renew the certificate'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'whose authority the client does not trust (UNABLE_TO', '--ca FILE'],
    [
      'ERR_TLS_CERT_ALTNAME_INVALID',
      'sends a certificate for a different name (ERR_TLS_CERT_ALTNAME_INVALID: expected orders)',
      "tls: { serverName: 'localhost' }",
    ],
    ['SOMETHING_NEW', 'sends a certificate that the client rejects (SOMETHING_NEW)', '--ca FILE'],
  ])('explains why a client rejects the certificate: %s', (refused, message, remedy) => {
    const result = certificateCheck(certificate, refused, 'orders', epochMsBeforeExpiry(-3));
    expect(result.status).toBe('failed');
    expect(result.message).toContain(message);
    expect(result.message).toContain(`expired on ${certificate.validTo}`);
    expect(result.remedy).toContain(remedy);
  });

  it.each([
    ['URI:spiffe://cluster.local/ns/shop/sa/orders, DNS:orders.shop', 'orders.shop'],
    ['DNS:*.shop.example, DNS:orders.example', 'orders.example'],
    ['IP Address:10.0.0.7, DNS:orders.shop', 'orders.shop'],
    ['URI:spiffe://cluster.local, IP Address:10.0.0.7', '10.0.0.7'],
  ])('recommends the first name in a certificate that serverName can be set to: %s', (subjectAltName, serverName) => {
    expect(mismatch(subjectAltName).remedy).toMatch(
      new RegExp(`tls: \\{ serverName: '${serverName}' \\} \\(here: --server-name ${serverName}\\)$`),
    );
  });

  it.each([['URI:spiffe://cluster.local/ns/shop/sa/orders'], ['DNS:*.shop.example'], ['email:ops@shop.example'], ['']])(
    'recommends reissuing the certificate if it contains no name that serverName can be set to: %s',
    (subjectAltName) => {
      expect(mismatch(subjectAltName).remedy).toBe('reissue the certificate with orders as a subject alternative name');
    },
  );

  it('warns about a rejected certificate and names the server address if another address is usable', () => {
    const refused = 'CERT_HAS_EXPIRED';
    expect(certificateCheck(certificate, refused, 'orders', 0, '10.0.0.7:50051', true)).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(/^the server at 10\.0\.0\.7:50051 sends an expired certificate/),
    });
    expect(certificateCheck(certificate, refused, 'orders', 0, '10.0.0.7:50051', false).status).toBe('failed');
  });
});
