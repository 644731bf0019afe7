import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { certificateCheck, SOON_DAYS } from './certificate-check.js';

const FIXTURES = join(import.meta.dirname, '../../../../../test/fixtures/tls');
const certificate = new X509Certificate(readFileSync(join(FIXTURES, 'server.pem')));
const tls = { protocol: 'TLSv1.3', alpn: 'h2', certificate, refused: undefined };
const DAY_MS = 86_400_000;
const daysBefore = (days: number) => Date.parse(certificate.validTo) - days * DAY_MS;

describe('a certificate', () => {
  it('is told with its subject, issuer, names and the days that it has left', () => {
    expect(certificateCheck(tls, 'localhost', daysBefore(90))).toMatchObject({
      status: 'ok',
      says: "CN=server, issued by CN=ca, for localhost, 127.0.0.1; bears 'localhost'; expires in 90 days",
      facts: { expiresInDays: 90, names: ['localhost', '127.0.0.1'] },
    });
  });

  it(`is a warning when it has less than ${String(SOON_DAYS)} days`, () => {
    expect(certificateCheck(tls, 'localhost', daysBefore(SOON_DAYS)).status).toBe('ok');
    expect(certificateCheck(tls, 'localhost', daysBefore(SOON_DAYS) + 1)).toMatchObject({
      status: 'warning',
      remedy: 'renew it now: from then on no client connects',
    });
  });

  it.each([
    ['CERT_HAS_EXPIRED', 'it has expired', 'renew it'],
    ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'its issuer is not trusted', '--ca FILE'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', "it does not bear the name 'orders'", "tls: { serverName: 'localhost' }"],
    ['SOMETHING_NEW', 'the client does not trust it', '--ca FILE'],
  ])('that the client refuses is told in words: %s', (refused, says, remedy) => {
    const told = certificateCheck({ ...tls, refused }, 'orders', daysBefore(-3));
    expect(told.status).toBe('failed');
    expect(told.says).toContain(`refused: ${says} (${refused})`);
    expect(told.says).toContain('expired 3 days ago');
    expect(told.remedy).toContain(remedy);
  });
});
