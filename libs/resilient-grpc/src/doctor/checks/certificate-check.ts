import type { X509Certificate } from 'node:crypto';
import { counted } from '../../telemetry/log/log-text.js';
import type { ProbedTls } from '../probe-connection.js';
import { resultsOf, type CheckResult, type Finding } from '../check-result.js';

/** Number of days before expiry at which the check warns. Automatic renewal normally replaces a certificate earlier. */
export const EXPIRY_WARNING_DAYS = 14;

const DAY_MS = 86_400_000;

const ISSUER_NOT_TRUSTED: Finding = [
  'issuer not trusted',
  'set its authority: tls: { ca } in the client (here: --ca FILE), or configure the server to send the full chain',
];

/** Explanations of the OpenSSL codes for rejected certificates. */
const REFUSALS: Readonly<Record<string, Finding>> = {
  CERT_HAS_EXPIRED: ['certificate expired', 'renew the certificate on the server, and check its automatic renewal'],
  CERT_NOT_YET_VALID: ['certificate not yet valid', 'compare the clocks of client and server'],
  DEPTH_ZERO_SELF_SIGNED_CERT: [
    'self-signed certificate not trusted',
    'set the certificate itself as the authority: tls: { ca } in the client (here: --ca FILE)',
  ],
  SELF_SIGNED_CERT_IN_CHAIN: [
    'authority not trusted',
    'set the authority: tls: { ca } in the client (here: --ca FILE)',
  ],
  UNABLE_TO_GET_ISSUER_CERT: [
    'issuer certificate missing',
    'configure the server to send the full chain, or add the issuer to tls: { ca }',
  ],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ISSUER_NOT_TRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ISSUER_NOT_TRUSTED,
};

/** Checks whether a client that connects to `name` accepts the server's certificate, and when the certificate expires. */
export function certificateCheck({ certificate, refused }: ProbedTls, name: string, epochNow: number): CheckResult {
  if (certificate === undefined) {
    const remedy = 'configure a certificate on the server';
    return resultsOf('certificate', { refused })('failed', 'the server sent no certificate', remedy);
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
  const result = resultsOf('certificate', facts);
  const whose = `${facts.subject}, issued by ${facts.issuer}, for ${names.join(', ') || 'no names'}`;
  const until = days < 0 ? `expired ${counted(-days, 'day')} ago` : `expires in ${counted(days, 'day')}`;
  if (refused !== undefined) {
    const [why, remedy] = refusal(refused, name, names);
    return result('failed', `rejected: ${why} (${refused}); ${whose}; ${until}`, remedy);
  }
  const message = `${whose}; matches '${name}'; ${until}`;
  if (days >= EXPIRY_WARNING_DAYS) return result('ok', message);
  return result('warning', message, 'renew the certificate now; clients cannot connect after it expires');
}

function refusal(code: string, name: string, names: readonly string[]): Finding {
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const [first] = names;
    const instead =
      first === undefined
        ? 'reissue the certificate with a subject alternative name'
        : `connect to one of its names, or set the expected name: tls: { serverName: '${first}' } in the client (here: --server-name ${first})`;
    return [`no name matches '${name}'`, instead];
  }
  return (
    REFUSALS[code] ?? ['not trusted by the client', 'set the authority: tls: { ca } in the client (here: --ca FILE)']
  );
}

/** Splits 'DNS:localhost, IP Address:127.0.0.1' into a list of names. */
function namesOf(certificate: X509Certificate): string[] {
  return (certificate.subjectAltName ?? '')
    .split(', ')
    .filter((name) => name !== '')
    .map((name) => name.replace(/^(DNS|IP Address|URI|email):/, ''));
}

/** Joins the lines of a distinguished name, which has one part per line. */
function oneLineName(name: string): string {
  return name.split('\n').join(', ');
}
