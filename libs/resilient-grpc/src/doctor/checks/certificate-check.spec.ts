import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { certificateCheck, EXPIRY_WARNING_DAYS } from './certificate-check.js';

const FIXTURES = join(import.meta.dirname, '../../../../../test/fixtures/tls');
const certificate = new X509Certificate(readFileSync(join(FIXTURES, 'server.pem')));
const tls = { protocol: 'TLSv1.3', alpn: 'h2', certificate, refused: undefined };
const DAY_MS = 86_400_000;
const epochMsBeforeExpiry = (days: number) => Date.parse(certificate.validTo) - days * DAY_MS;

function mismatch(subjectAltName: string) {
  const { subject, issuer, validTo } = certificate;
  const other = { subject, issuer, validTo, subjectAltName } as X509Certificate;
  return certificateCheck({ ...tls, certificate: other, refused: 'ERR_TLS_CERT_ALTNAME_INVALID' }, 'orders', 0);
}

describe('certificateCheck', () => {
  it('reports the subject, the issuer, and the names of a certificate, and the days until it expires', () => {
    expect(certificateCheck(tls, 'localhost', epochMsBeforeExpiry(90))).toMatchObject({
      status: 'ok',
      message: "CN=server, issued by CN=ca, for localhost, 127.0.0.1; matches 'localhost'; expires in 90 days",
      facts: { expiresInDays: 90, names: ['localhost', '127.0.0.1'] },
    });
  });

  it(`warns if the certificate expires in less than ${String(EXPIRY_WARNING_DAYS)} days`, () => {
    expect(certificateCheck(tls, 'localhost', epochMsBeforeExpiry(EXPIRY_WARNING_DAYS)).status).toBe('ok');
    expect(certificateCheck(tls, 'localhost', epochMsBeforeExpiry(EXPIRY_WARNING_DAYS) + 1)).toMatchObject({
      status: 'warning',
      remedy: 'renew the certificate now; clients cannot connect after it expires',
    });
  });

  it.each([
    [1, 'expires in 1 day'],
    [23 / 24, 'expires in 23 hours'],
    [0, 'expires in 0 minutes'],
    [-59.5 / 1_440, 'expired 59 minutes ago'],
    [-1 / 24, 'expired 1 hour ago'],
    [-1, 'expired 1 day ago'],
  ])(
    'formats the time until or since certificate expiry in days, hours, or minutes, in the singular or the plural (days until expiry: %s)',
    (days, text) => {
      expect(certificateCheck(tls, 'localhost', epochMsBeforeExpiry(days)).message).toMatch(new RegExp(`; ${text}$`));
    },
  );

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
    const result = certificateCheck({ ...tls, refused }, 'orders', epochMsBeforeExpiry(-3));
    expect(result.status).toBe('failed');
    expect(result.message).toContain(message);
    expect(result.message).toContain('expired 3 days ago');
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
    const refused = { ...tls, refused: 'CERT_HAS_EXPIRED' };
    expect(certificateCheck(refused, 'orders', 0, '10.0.0.7:50051', true)).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(/^the server at 10\.0\.0\.7:50051 sends an expired certificate/),
    });
    expect(certificateCheck(refused, 'orders', 0, '10.0.0.7:50051', false).status).toBe('failed');
  });
});
