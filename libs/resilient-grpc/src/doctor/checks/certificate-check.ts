import type { X509Certificate } from 'node:crypto';
import type { ProbedTls } from '../probe-connection.js';
import type { CheckResult } from '../check-result.js';

/** A certificate that expires in fewer days is a warning: by then, an automatic renewal would have replaced it. */
export const SOON_DAYS = 14;

const DAY_MS = 86_400_000;

/** Explanations of the OpenSSL codes for rejected certificates. */
const REFUSALS: Readonly<Record<string, readonly [says: string, remedy: string]>> = {
  CERT_HAS_EXPIRED: ['it has expired', 'renew it on the server, and see why nobody did'],
  CERT_NOT_YET_VALID: ['it is not valid yet', 'compare the clocks of both sides'],
  DEPTH_ZERO_SELF_SIGNED_CERT: [
    'it is signed by itself, which nobody trusts',
    'name the certificate itself as authority: tls: { ca } of the client, --ca FILE here',
  ],
  SELF_SIGNED_CERT_IN_CHAIN: [
    'its authority is not trusted',
    'name the authority: tls: { ca } of the client, --ca FILE here',
  ],
  UNABLE_TO_GET_ISSUER_CERT: [
    'the certificate of its issuer is missing',
    'have the server send the whole chain, or name the issuer in tls: { ca }',
  ],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: [
    'its issuer is not trusted',
    'name the authority: tls: { ca } of the client, --ca FILE here; or have the server send its whole chain',
  ],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: [
    'its issuer is not trusted',
    'name the authority: tls: { ca } of the client, --ca FILE here; or have the server send its whole chain',
  ],
};

/** Checks whether a client that connects to `name` accepts the server's certificate, and when the certificate expires. */
export function certificateCheck({ certificate, refused }: ProbedTls, name: string, epochNow: number): CheckResult {
  if (certificate === undefined) {
    return {
      check: 'certificate',
      status: 'failed',
      says: 'the server has shown none',
      remedy: 'give it one',
      facts: { refused },
    };
  }
  const days = Math.floor((Date.parse(certificate.validTo) - epochNow) / DAY_MS);
  const names = namesOf(certificate);
  const facts = {
    subject: oneLineName(certificate.subject),
    issuer: oneLineName(certificate.issuer),
    names,
    expected: name,
    validFrom: certificate.validFrom,
    validTo: certificate.validTo,
    expiresInDays: days,
    fingerprint256: certificate.fingerprint256,
    refused,
  };
  const whose = `${facts.subject}, issued by ${facts.issuer}, for ${names.join(', ') || 'no name'}`;
  const until = days < 0 ? `expired ${String(-days)} days ago` : `expires in ${String(days)} days`;
  if (refused !== undefined) {
    const [why, remedy] = refusal(refused, name, names);
    return {
      check: 'certificate',
      status: 'failed',
      says: `refused: ${why} (${refused}); ${whose}; ${until}`,
      remedy,
      facts,
    };
  }
  const says = `${whose}; bears '${name}'; ${until}`;
  if (days >= SOON_DAYS) return { check: 'certificate', status: 'ok', says, facts };
  return {
    check: 'certificate',
    status: 'warning',
    says,
    remedy: 'renew it now: from then on no client connects',
    facts,
  };
}

function refusal(code: string, name: string, names: readonly string[]): readonly [string, string] {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const [first] = names;
    const instead =
      first === undefined
        ? 'issue it with a subject alternative name'
        : `connect by one of its names, or say which is meant: tls: { serverName: '${first}' } of the client, --server-name here`;
    return [`it does not bear the name '${name}'`, instead];
  }
  return (
    REFUSALS[code] ?? ['the client does not trust it', 'name its authority: tls: { ca } of the client, --ca FILE here']
  );
}

/** Splits 'DNS:localhost, IP Address:127.0.0.1' into a list of names. */
function namesOf(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '')
    .split(', ')
    .filter((name) => name !== '')
    .map((name) => name.replace(/^(DNS|IP Address|URI|email):/, ''));
}

/** Joins a distinguished name, which has one part per line, to one line. */
function oneLineName(name: string): string {
  return name.split('\n').join(', ');
}
