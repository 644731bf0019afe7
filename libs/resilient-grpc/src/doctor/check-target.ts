import type { X509Certificate } from 'node:crypto';
import { addressKey } from '../channel/connection/address-key.js';
import { targetUri } from '../channel/quirks/secure-connector.js';
import { readTlsPart, validityProblem } from '../channel/tls/tls-material.js';
import { createResilientGrpcClient, type InternalGrpcClient } from '../client/create-client.js';
import { resolveSettings } from '../client/settings/resolve-settings.js';
import { errorMessage } from '../errors/error-message.js';
import { connectFailureKind } from '../policy/connect-failure/connect-failures.js';
import { selectEndpoints } from '../policy/kubernetes/select-endpoints.js';
import { missingEndpoints, parseKubernetesTarget } from '../kubernetes/kubernetes-target.js';
import type { WatchState } from '../kubernetes/service-watch.js';
import { counted, duration, oneLine } from '../telemetry/log/log-text.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { findingOf, resultsOf, type CheckName, type CheckResult, type Checks, type Finding } from './check-result.js';
import { probeAddress, probeCredentials, type ConnectParameters, type Probe } from './connection.js';
import { KEEPALIVE_PINGS, type DoctorOptions, type Env } from './doctor-options.js';
import { idleCheck, measureIdle, keepaliveCheck } from './idle-check.js';
import { clientCheck, healthCheck, reflectionCheck } from './server-checks.js';
import {
  MAX_ADDRESSES,
  authorityHost,
  proxyCheck,
  proxyOf,
  resolveTarget,
  targetCheck,
  unusableTarget,
  type TargetAddress,
} from './target-check.js';
import { TimeLimit, within } from './time-limit.js';

/** Checks `target` in the order in which a client connects, skipping steps that an earlier failure makes impossible. */
export async function* checkTarget(
  target: string,
  options: DoctorOptions,
  env: Env,
  onProgress: (text: string) => void,
): Checks<CheckResult | undefined> {
  const limit = new TimeLimit(options.timeoutMs);
  if (target.startsWith('kubernetes:')) {
    const found = await kubernetesCheck(target, limit.leftMs(options.connectTimeoutMs));
    yield found;
    if (found.status === 'failed') return undefined;
  }
  const { tls } = options;
  const dependencies = { clock: systemClock, random: systemRandom, report: () => undefined };
  const settings = { url: target, ...(tls && { tls }) };
  // Its calls are to methods outside a contract.
  const input = { name: 'doctor', path: 'doctor', services: new Map(), settings, defaults: undefined };
  const resolved = resolveSettings(input, dependencies);
  if (!resolved.ok) {
    yield unusableTarget(target, resolved.problems);
    return undefined;
  }
  // A regular client, which connects on demand.
  const client = createResilientGrpcClient(resolved.settings, dependencies);
  try {
    return yield* checkServer(client, options, limit, env, onProgress);
  } finally {
    await client.close();
  }
}

async function* checkServer(
  client: InternalGrpcClient,
  options: DoctorOptions,
  limit: TimeLimit,
  env: Env,
  onProgress: (text: string) => void,
): Checks<CheckResult | undefined> {
  const { target, canonicalTarget } = client;
  const { connectTimeoutMs, keepaliveMs, idleMs, service = '', tls } = options;
  const stepMs = () => limit.leftMs(connectTimeoutMs);
  const usedUp = `not checked: --timeout ${String(options.timeoutMs / 1_000)}s is used up`;
  const inTime = async (check: CheckName, run: () => CheckResult | Promise<CheckResult>): Promise<CheckResult> =>
    limit.isUsedUp ? resultsOf(check)('skipped', usedUp) : run();
  // Reports 'failed' instead of 'skipped', because exit code 0 would wrongly indicate that clients can connect.
  const clientNotChecked = () => resultsOf('client')('failed', usedUp, 'run the doctor again with a longer --timeout');

  const proxy = proxyOf(target, canonicalTarget, env);
  if (proxy !== undefined) yield proxyCheck(proxy);
  const resolution = limit.isUsedUp ? undefined : await resolveTarget(canonicalTarget, limit, stepMs());
  const usesOtherResolver = env['GRPC_NODE_USE_ALTERNATIVE_RESOLVER'] === 'true';
  if (resolution === undefined) yield resultsOf('target')('skipped', usedUp);
  else yield targetCheck(target, resolution, usesOtherResolver, proxy);
  const addresses = resolution?.ok === true ? resolution.addresses.slice(0, MAX_ADDRESSES) : [];
  const credentials = tls && { credentials: probeCredentials(tls), serverName: tls.serverName };
  const parameters: ConnectParameters = { canonicalTarget, tls: credentials, connectTimeoutMs, limit };
  // If a proxy is used, no address is probed, because only the client connects through the proxy.
  const isTooLate = proxy === undefined && addresses.length > 0 && limit.isUsedUp;
  if (isTooLate) yield resultsOf('address')('skipped', usedUp);
  const tried = proxy === undefined && !isTooLate ? addresses : [];
  const probed = await Promise.all(
    tried.map(async (address) => ({ address, probe: await probeAddress(address, parameters) })),
  );
  const usable = probed.find(({ probe }) => probe.readyMs !== undefined);
  for (const { address, probe } of probed) yield addressCheck(address, probe, usable !== undefined);
  yield* certificates(probed, tls?.serverName ?? authorityHost(canonicalTarget));
  const cert = readTlsPart('cert', tls?.cert);
  const invalid = Buffer.isBuffer(cert) ? validityProblem({ cert }, systemClock.epoch()) : undefined;
  if (invalid !== undefined) {
    const status = usable === undefined ? 'failed' : 'warning';
    const message = `the client's own certificate ${invalid}`;
    yield resultsOf('certificate')(status, message, 'renew the certificate in --cert');
  }

  let reflected: CheckResult | undefined;
  if (usable !== undefined || (proxy !== undefined && addresses.length > 0)) {
    const hasFindings = proxy !== undefined || probed.some(({ probe }) => probe.readyMs === undefined);
    const ready = limit.isUsedUp ? clientNotChecked() : await clientCheck(client, stepMs(), hasFindings);
    yield ready;
    if (ready.status === 'ok') {
      yield await inTime('health', () => healthCheck(client, service, stepMs()));
      reflected = await inTime('reflection', () => reflectionCheck(client, stepMs()));
      yield reflected;
    }
  } else if (resolution === undefined || isTooLate) {
    yield clientNotChecked();
  } else {
    yield resultsOf('client')('skipped', 'not checked: no usable address');
  }
  // The overall time limit does not apply to the keepalive and idle checks.
  const ownTime = () => ({ ...parameters, limit: new TimeLimit(connectTimeoutMs) });
  const unusable = `not checked: ${proxy === undefined ? 'no usable address' : 'connections go through a proxy'}`;
  if (keepaliveMs !== undefined) {
    if (usable === undefined) yield resultsOf('keepalive')('skipped', unusable);
    else {
      onProgress(`sending keepalive pings for ${duration(KEEPALIVE_PINGS * keepaliveMs)}`);
      yield await keepaliveCheck(usable.address, ownTime(), keepaliveMs);
    }
  }
  if (idleMs !== undefined) {
    if (usable === undefined) yield resultsOf('idle')('skipped', unusable);
    else yield idleCheck(await measureIdle(usable.address, ownTime(), idleMs, onProgress), idleMs);
  }
  return reflected;
}

/**
 * Checks each distinct certificate once. If another address is usable, clients use that address, and a rejected certificate is only a
 * warning.
 */
function* certificates(
  probed: readonly { readonly address: TargetAddress; readonly probe: Probe }[],
  name: string,
): Generator<CheckResult> {
  const hasUsable = probed.some(({ probe }) => probe.readyMs !== undefined);
  const seen = new Set<string>();
  for (const { address, probe } of probed) {
    const { certificate, refused } = probe.tls ?? {};
    if (certificate === undefined || seen.has(certificate.fingerprint256)) continue;
    seen.add(certificate.fingerprint256);
    const where = probed.length > 1 ? addressKey(address) : undefined;
    yield certificateCheck(certificate, refused, name, systemClock.epoch(), where, hasUsable);
  }
}

/** @param hasOther true if another address is usable; clients then use that address, and a failure of this address is only a warning */
export function addressCheck(address: TargetAddress, probe: Probe, hasOther = false): CheckResult {
  const { tls, failure } = probe;
  const where = addressKey(address);
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

const INSTALL =
  'install the client library in the application: npm i @kubernetes/client-node; before Node 22.19, npm i @kubernetes/client-node@1';

/**
 * Registers the resolver for `kubernetes:` targets, watches the service as it does, and reports the number of the service's pods by condition, or the problem that prevents
 * calls.
 */
async function kubernetesCheck(target: string, timeoutMs: number): Promise<CheckResult> {
  let modules;
  try {
    // The resolver requires the optional client library.
    modules = {
      ...(await import('../kubernetes/register-kubernetes-resolver.js')),
      ...(await import('../kubernetes/service-watch.js')),
    };
  } catch (error) {
    const message = `@kubernetes/client-node cannot be loaded: ${oneLine(errorMessage(error))}`;
    return resultsOf('kubernetes')('failed', message, INSTALL);
  }
  const { register, ServiceWatch } = modules;
  let server;
  let service;
  try {
    service = parseKubernetesTarget(targetUri(target));
    server = register({});
  } catch (error) {
    return resultsOf('kubernetes')(
      'failed',
      errorMessage(error),
      'correct the target, and run the doctor where the application runs',
    );
  }
  const { namespace = server.namespace } = service;
  const facts = { server: server.url, namespace, service: service.service };
  const dependencies = { server, clock: systemClock, random: systemRandom };
  const watch = new ServiceWatch({ service: service.service, namespace }, dependencies);
  let end = (): void => undefined;
  // An open watch shows both permissions: to list, and to watch.
  const settled = new Promise<WatchState>((resolve) => {
    const onChange = (state: WatchState) => (state.state === 'listing' ? undefined : resolve(state));
    end = watch.subscribe({ onChange });
  });
  const found = await within(timeoutMs, settled, undefined);
  end();
  const late = {
    message: `cannot watch EndpointSlices at ${server.url}: no response within ${duration(timeoutMs)}`,
    remedy: undefined,
  };
  const { slices = [], failure } = found ?? { failure: late };
  if (failure !== undefined) {
    const remedy = `check the credentials, and that ${server.url} is reachable from here`;
    return resultsOf('kubernetes', facts)('failed', failure.message, failure.remedy ?? remedy);
  }
  const selection = selectEndpoints(slices, service.port);
  const { counts } = selection;
  const result = resultsOf('kubernetes', { ...facts, ...counts, slices: slices.length });
  if (!selection.found) {
    const [message = '', remedy] = missingEndpoints(selection, service, namespace).split('; ');
    return result('failed', message, remedy);
  }
  const pods = `${String(counts.ready)} ready, ${String(counts.notReady)} not ready, ${String(counts.terminating)} terminating`;
  const message = `service ${service.service} in namespace ${namespace}: ${pods}; ${counted(slices.length, 'EndpointSlice')} at ${server.url}`;
  return selection.reason === 'terminating'
    ? result('warning', `${message}; only terminating pods receive calls`, 'check the readiness probes of the pods')
    : result('ok', message);
}
