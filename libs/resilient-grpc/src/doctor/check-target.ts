import { readTlsPart, validityProblem } from '../channel/tls/tls-material.js';
import { createResilientGrpcClient, type InternalGrpcClient } from '../client/create-client.js';
import { loadContract } from '../client/settings/contract.js';
import { resolveSettings } from '../client/settings/resolve-settings.js';
import { duration } from '../telemetry/log/log-text.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { addressCheck, certificateCheck } from './address-check.js';
import { resultsOf, type CheckName, type CheckResult, type Checks } from './check-result.js';
import { probeAddress, probeCredentials, type ConnectParameters, type Probe } from './connection.js';
import { KEEPALIVE_PINGS, type DoctorOptions, type Env } from './doctor-options.js';
import { idleCheck, measureIdle, keepaliveCheck } from './idle-check.js';
import { kubernetesCheck } from './kubernetes-check.js';
import { clientCheck, healthCheck, reflectionCheck, reflectionContract } from './server-checks.js';
import { dnsConfigCheck } from './service-config-check.js';
import {
  MAX_ADDRESSES,
  addressText,
  authorityHost,
  proxyCheck,
  proxyOf,
  resolveTarget,
  targetCheck,
  unusableTarget,
  type TargetAddress,
} from './target-check.js';
import { TimeLimit, within } from './time-limit.js';

/** Result if the DNS query exceeds the time limit, because the query's own timeout applies to each name server separately. */
const DNS_TIMED_OUT = resultsOf('dns-config')('skipped', 'not checked: no name server responded in time');

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
  const contract = loadContract({ packageDefinition: reflectionContract() }, 'doctor');
  const services = contract.ok ? contract.services : new Map();
  const input = { name: 'doctor', path: 'doctor', services, settings, defaults: undefined };
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
  // Runs in parallel with the other checks, because a query takes seconds if the name server does not respond.
  const dnsConfig = dnsConfigCheck(target);
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
  const found = await within(limit.leftMs(options.timeoutMs), dnsConfig, DNS_TIMED_OUT);
  if (found !== undefined) yield found;
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
    const where = probed.length > 1 ? addressText(address) : undefined;
    yield certificateCheck(certificate, refused, name, systemClock.epoch(), where, hasUsable);
  }
}
