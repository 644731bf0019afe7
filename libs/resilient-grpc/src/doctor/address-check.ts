import type { X509Certificate } from 'node:crypto';
import { connectFailureKind } from '../policy/connect-failure/connect-failures.js';
import { counted, duration, oneLine } from '../telemetry/log/log-text.js';
import { findingOf, resultsOf, type CheckResult, type Finding } from './check-result.js';
import type { Probe } from './connection.js';
import { addressText, type TargetAddress } from './target-check.js';

/** @param hasOther true if another address is usable; clients then use that address, and a failure of this address is only a warning */
export function addressCheck(address: TargetAddress, probe: Probe, hasOther = false): CheckResult {
  const { tls, failure } = probe;
  const where = addressText(address);
  const result = resultsOf('address', {
    address: where,
    tcpMs: rounded(probe.tcpMs),
    tlsMs: rounded(probe.tlsMs),
    readyMs: rounded(probe.readyMs),
    protocol: tls?.protocol,
    alpn: tls?.alpn,
    failure,
  });
  const status = hasOther ? 'warning' : 'failed';
  if (failure !== undefined) return result(status, oneLine(failure.message), findingOf(failure.kind)[1]);
  const message = `${where}${tls?.refused === undefined ? '' : ' responds, but the client rejects its certificate'}${steps(probe)}`;
  if (tls?.refused !== undefined) return result(status, message, 'see the certificate check below');
  if (tls !== undefined && tls.alpn !== 'h2') {
    const remedy = 'configure the server to offer h2; Go and Java clients reject a connection without it';
    return result('warning', `${message}; ALPN did not negotiate h2`, remedy);
  }
  return result('ok', message);
}

/** Formats the steps: ' (TCP 1 ms, TLS 5 ms (TLSv1.3, h2), READY 6 ms)'. */
function steps({ tcpMs, tlsMs, readyMs, tls }: Probe): string {
  const parts: string[] = [];
  if (tcpMs !== undefined) parts.push(`TCP ${duration(tcpMs)}`);
  if (tlsMs !== undefined && tls) parts.push(`TLS ${duration(tlsMs)} (${tls.protocol}, ${tls.alpn ?? 'no ALPN'})`);
  if (readyMs !== undefined) parts.push(`READY ${duration(readyMs)}`);
  return ` (${parts.join(', ')})`;
}

function rounded(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : Math.round(ms * 10) / 10;
}

/** Minimum number of days until expiry. */
export const EXPIRY_WARNING_DAYS = 14;

const DAY_MS = 86_400_000;

/**
 * Checks whether a client that connects to `name` accepts the server's certificate, and when the certificate expires.
 * @param hasOther true if another address is usable; clients then use that address, and a rejected certificate is only a warning
 */
export function certificateCheck(
  certificate: X509Certificate,
  refused: string | undefined,
  name: string,
  epochNow: number,
  where?: string,
  hasOther = false,
): CheckResult {
  const server = where === undefined ? 'the server' : `the server at ${where}`;
  const status = hasOther ? 'warning' : 'failed';
  const leftMs = Date.parse(certificate.validTo) - epochNow;
  const days = Math.floor(leftMs / DAY_MS);
  // 'DNS:localhost, IP Address:127.0.0.1'.
  const alternatives = certificate.subjectAltName?.split(', ') ?? [];
  const names = alternatives.map((one) => one.replace(/^(DNS|IP Address|URI|email):/, ''));
  const facts = {
    subject: certificate.subject.replaceAll('\n', ', '),
    issuer: certificate.issuer.replaceAll('\n', ', '),
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
  const until = leftMs < 0 ? `expired on ${certificate.validTo}` : `expires in ${counted(days, 'day')}`;
  if (refused !== undefined) {
    const [why, remedy] = refusal(refused, name, certificate);
    return result(status, `${server} ${why}; ${whose}; ${until}`, remedy);
  }
  const message = `${whose}; matches '${name}'; ${until}`;
  if (days >= EXPIRY_WARNING_DAYS) return result('ok', message);
  return result('warning', message, 'renew the certificate now; clients cannot connect after it expires');
}

function refusal(code: string, name: string, certificate: X509Certificate): Finding {
  const kind = connectFailureKind({ phase: 'tls', code, isSecure: true, receivedBytes: 0 });
  if (kind !== 'certificate-name') return findingOf(kind === 'other' ? 'certificate-rejected' : kind, code);
  // A name that `serverName` can be set to: a DNS name without a wildcard, or an IP address.
  const names = certificate.subjectAltName?.split(', ') ?? [];
  const found = names.find((one) => /^DNS:[\w.-]+$/.test(one)) ?? names.find((one) => one.startsWith('IP Address:'));
  const usable = found?.replace(/^(?:DNS|IP Address):/, '');
  const [why, remedy] = findingOf(kind, `${code}: expected ${name}`);
  if (usable === undefined) return [why, `reissue the certificate with ${name} as a subject alternative name`];
  return [why, remedy.replace('{ serverName }', `{ serverName: '${usable}' }`).replace('NAME', usable)];
}
