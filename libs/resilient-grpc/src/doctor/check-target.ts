import { readTlsPart, validityProblem, type TlsOptions } from '../channel/tls/tls-material.js';
import { createResilientGrpcClient } from '../client/create-client.js';
import type { InternalGrpcClient } from '../client/create-client.js';
import { loadContract } from '../client/settings/contract.js';
import { resolveSettings } from '../client/settings/resolve-settings.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { addressCheck } from './checks/address-check.js';
import { certificateCheck } from './checks/certificate-check.js';
import { clientCheck } from './checks/client-check.js';
import { dnsConfigCheck } from './checks/dns-config-check.js';
import { healthCheck } from './checks/health-check.js';
import { keepaliveCheck } from './checks/keepalive-check.js';
import { proxyCheck, proxyOf } from './checks/proxy-check.js';
import { reflectionCheck, type Reflected } from './checks/reflection-check.js';
import { kubernetesCheck } from './checks/kubernetes-check.js';
import { MAX_ADDRESSES, targetCheck, unusableTarget } from './checks/target-check.js';
import { resultsOf, type CheckName, type CheckResult, type Checks } from './check-result.js';
import type { DoctorOptions, Env } from './doctor-options.js';
import { checkIdleConnections } from './idle-connections.js';
import type { IdleProgress } from './measure-idle.js';
import { authorityHost, probeCredentials, type ConnectParameters } from './open-connection.js';
import { probeAddresses, type ProbedAddress } from './probe-connection.js';
import { reflectionContract } from './reflection-contract.js';
import { resolveTarget } from './resolve-target.js';
import { addressText } from './target-address.js';
import { TimeBudget, within } from './time-budget.js';

/**
 * Result if the DNS query exceeds the time budget. The budget is needed, because the query's own timeout applies to each name server
 * separately.
 */
const DNS_TIMED_OUT = resultsOf('dns-config')('skipped', 'not checked: no name server responded in time');

/**
 * Checks `target` in the order in which a client connects, skipping steps that an earlier failure makes impossible. Returns the result
 * of reflection; `undefined` if reflection was not checked.
 */
export async function* checkTarget(
  target: string,
  options: DoctorOptions,
  env: Env,
  onIdleProgress?: (progress: IdleProgress) => void,
): Checks<Reflected | undefined> {
  const budget = new TimeBudget(options.timeoutMs);
  if (target.startsWith('kubernetes:')) {
    const found = await kubernetesCheck(target, Math.round(budget.leftMs(options.connectTimeoutMs)));
    yield found;
    if (found.status === 'failed') return undefined;
  }
  const created = createClient(target, options.tls);
  if (!created.ok) {
    yield unusableTarget(target, created.problems);
    return undefined;
  }
  try {
    return yield* checkServer(created.client, options, budget, env, onIdleProgress);
  } finally {
    await created.client.close();
  }
}

/** Creates a regular client of this library for the target, or returns the problems of its settings. The client connects on demand. */
function createClient(url: string, tls: TlsOptions | undefined) {
  const contract = loadContract({ packageDefinition: reflectionContract() }, 'doctor');
  if (!contract.ok) return contract;
  const dependencies = { clock: systemClock, random: systemRandom, report: () => undefined };
  const settings = { url, ...(tls && { tls }) };
  const input = { name: 'doctor', path: 'doctor', services: contract.services, settings, defaults: undefined };
  const resolved = resolveSettings(input, dependencies);
  if (!resolved.ok) return resolved;
  return { ok: true, client: createResilientGrpcClient(resolved.settings, dependencies) } as const;
}

async function* checkServer(
  client: InternalGrpcClient,
  options: DoctorOptions,
  budget: TimeBudget,
  env: Env,
  onIdleProgress?: (progress: IdleProgress) => void,
): Checks<Reflected | undefined> {
  const { target, canonicalTarget } = client;
  const { connectTimeoutMs, keepaliveMs: everyMs, idleMs, service = '' } = options;
  const stepMs = () => Math.round(budget.leftMs(connectTimeoutMs));
  // Runs in parallel with the other checks, because a query takes seconds if the name server does not respond.
  const dnsConfig = dnsConfigCheck(target);

  const usedUp = `not checked: --timeout ${String(options.timeoutMs / 1_000)}s is used up`;
  const notChecked = (check: CheckName) => resultsOf(check)('skipped', usedUp);
  // Reports 'failed' instead of 'skipped', because exit code 0 would wrongly indicate that clients can connect.
  const clientNotChecked = () => resultsOf('client')('failed', usedUp, 'run the doctor again with a longer --timeout');

  const proxy = proxyOf(target, canonicalTarget, env);
  if (proxy !== undefined) yield proxyCheck(proxy);
  const resolution = budget.isUsedUp ? undefined : await resolveTarget(canonicalTarget, budget, stepMs());
  const usesOtherResolver = env['GRPC_NODE_USE_ALTERNATIVE_RESOLVER'] === 'true';
  yield resolution === undefined ? notChecked('target') : targetCheck(target, resolution, usesOtherResolver, proxy);
  const addresses = resolution?.ok === true ? resolution.addresses.slice(0, MAX_ADDRESSES) : [];
  const { tls } = options;
  const parameters: ConnectParameters = {
    canonicalTarget,
    tls: tls && { credentials: probeCredentials(tls), serverName: tls.serverName },
    connectTimeoutMs,
    budget,
  };
  // If a proxy is used, no address is probed, because only the client connects through the proxy.
  const isTooLate = proxy === undefined && addresses.length > 0 && budget.isUsedUp;
  if (isTooLate) yield notChecked('address');
  const probed = proxy === undefined && !isTooLate ? await probeAddresses(addresses, parameters) : [];
  const usable = probed.find(({ probe }) => probe.readyMs !== undefined);
  for (const one of probed) yield addressCheck(one, usable !== undefined);
  yield* certificates(probed, tls?.serverName ?? authorityHost(canonicalTarget));
  const cert = readTlsPart('cert', tls?.cert);
  const invalid = Buffer.isBuffer(cert) ? validityProblem({ cert }, systemClock.epoch()) : undefined;
  if (invalid !== undefined) {
    const message = `the client's own certificate ${invalid}`;
    yield resultsOf('certificate')(
      usable === undefined ? 'failed' : 'warning',
      message,
      'renew the certificate in --cert',
    );
  }

  let reflected: Reflected | undefined;
  if (usable !== undefined || (proxy !== undefined && addresses.length > 0)) {
    const hasFindings = proxy !== undefined || probed.some(({ probe }) => probe.readyMs === undefined);
    const ready = budget.isUsedUp ? clientNotChecked() : await clientCheck(client, stepMs(), hasFindings);
    yield ready;
    if (ready.status === 'ok') {
      yield budget.isUsedUp ? notChecked('health') : await healthCheck(client, service, stepMs());
      if (budget.isUsedUp) yield notChecked('reflection');
      else {
        reflected = await reflectionCheck(client, stepMs(), options.serviceConfigFile !== undefined);
        yield reflected.result;
      }
    }
  } else if (resolution === undefined || isTooLate) {
    yield clientNotChecked();
  } else {
    yield resultsOf('client')('skipped', 'not checked: no usable address');
  }
  const found = await within(budget.leftMs(options.timeoutMs), dnsConfig, DNS_TIMED_OUT);
  if (found !== undefined) yield found;
  // The overall time limit does not apply to the keepalive and idle checks.
  const ownTime = () => ({ ...parameters, budget: new TimeBudget(connectTimeoutMs) });
  const unusable = `not checked: ${proxy === undefined ? 'no usable address' : 'connections go through a proxy'}`;
  if (everyMs !== undefined) {
    if (usable === undefined) yield resultsOf('keepalive')('skipped', unusable);
    else yield await keepaliveCheck(usable.address, ownTime(), everyMs);
  }
  if (idleMs !== undefined) {
    if (usable === undefined) yield resultsOf('idle')('skipped', unusable);
    else yield await checkIdleConnections(usable.address, ownTime(), idleMs, onIdleProgress);
  }
  return reflected;
}

/**
 * Checks each distinct certificate once. Servers with the same name usually share a certificate. If another address is usable, clients use
 * that address, and a rejected certificate is only a warning.
 */
function* certificates(probed: readonly ProbedAddress[], name: string): Generator<CheckResult> {
  const hasUsable = probed.some(({ probe }) => probe.readyMs !== undefined);
  const seen = new Set<string | undefined>();
  for (const { address, probe } of probed) {
    const fingerprint = probe.tls?.certificate?.fingerprint256;
    if (probe.tls === undefined || seen.has(fingerprint)) continue;
    seen.add(fingerprint);
    const where = probed.length > 1 ? addressText(address) : undefined;
    yield certificateCheck(probe.tls, name, systemClock.epoch(), where, hasUsable);
  }
}
