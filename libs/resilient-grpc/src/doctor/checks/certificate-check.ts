import type { X509Certificate } from 'node:crypto';
import { connectFailureKind } from '../../policy/connect-failure/connect-failure-kind.js';
import { counted } from '../../telemetry/log/log-text.js';
import type { ProbedTls } from '../probe-connection.js';
import { findingOf, resultsOf, type CheckResult, type Finding } from '../check-result.js';

/**
 * Minimum number of days until expiry. The check warns if fewer days remain, because automatic renewal normally replaces a certificate
 * earlier.
 */
export const EXPIRY_WARNING_DAYS = 14;

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;

/**
 * Checks whether a client that connects to `name` accepts the server's certificate, and when the certificate expires.
 *
 * @param where address of the server, if the target has several addresses
 * @param hasOther true if another address is usable; clients then use that address, and a rejected certificate is only a warning
 */
export function certificateCheck(
  { certificate, refused }: ProbedTls,
  name: string,
  epochNow: number,
  where?: string,
  hasOther = false,
): CheckResult {
  const server = where === undefined ? 'the server' : `the server at ${where}`;
  const status = hasOther ? 'warning' : 'failed';
  if (certificate === undefined) {
    const remedy = 'configure a certificate on the server';
    return resultsOf('certificate', { refused })(status, `${server} sent no certificate`, remedy);
  }
  const leftMs = Date.parse(certificate.validTo) - epochNow;
  const days = Math.floor(leftMs / DAY_MS);
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
  const until = leftMs < 0 ? `expired ${timeSpan(-leftMs)} ago` : `expires in ${timeSpan(leftMs)}`;
  if (refused !== undefined) {
    const [why, remedy] = refusal(refused, name, certificate);
    return result(status, `${server} ${why}; ${whose}; ${until}`, remedy);
  }
  const message = `${whose}; matches '${name}'; ${until}`;
  if (days >= EXPIRY_WARNING_DAYS) return result('ok', message);
  return result('warning', message, 'renew the certificate now; clients cannot connect after it expires');
}

/** Formats a duration in days, in hours if it is below one day, or in minutes if it is below one hour. Rounds down. */
function timeSpan(ms: number): string {
  if (ms >= DAY_MS) return counted(Math.floor(ms / DAY_MS), 'day');
  return ms >= HOUR_MS ? counted(Math.floor(ms / HOUR_MS), 'hour') : counted(Math.floor(ms / MINUTE_MS), 'minute');
}

function refusal(code: string, name: string, certificate: X509Certificate): Finding {
  const kind = connectFailureKind({ phase: 'tls', code, isSecure: true, receivedBytes: 0 });
  if (kind !== 'certificate-name') return findingOf(kind === 'other' ? 'certificate-rejected' : kind, code);
  const usable = serverNameIn(certificate);
  const [why, remedy] = findingOf(kind, `${code}: expected ${name}`);
  if (usable === undefined) return [why, `reissue the certificate with ${name} as a subject alternative name`];
  return [why, remedy.replace('{ serverName }', `{ serverName: '${usable}' }`).replace('NAME', usable)];
}

/** Returns a name that `serverName` can be set to: the first DNS name without a wildcard, or an IP address; `undefined` if absent. */
function serverNameIn({ subjectAltName = '' }: X509Certificate): string | undefined {
  const names = subjectAltName.split(', ');
  const found =
    names.find((name) => /^DNS:[\w.-]+$/.test(name)) ?? names.find((name) => /^IP Address:[\d.A-F:]+$/i.test(name));
  return found?.replace(/^(?:DNS|IP Address):/, '');
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
