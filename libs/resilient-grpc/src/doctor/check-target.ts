import { dnsNameOf } from '../channel/dns/dns-name.js';
import type { InternalGrpcClient } from '../client/internal-grpc-client.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { addressCheck, isUsable, type ProbedAddress } from './checks/address-check.js';
import { certificateCheck } from './checks/certificate-check.js';
import { clientCheck } from './checks/client-check.js';
import { dnsConfigCheck } from './checks/dns-config-check.js';
import { healthCheck } from './checks/health-check.js';
import { keepaliveCheck, keepaliveMs } from './checks/keepalive-check.js';
import { proxyCheck } from './checks/proxy-check.js';
import { reflectionCheck, type Reflected } from './checks/reflection-check.js';
import { MAX_ADDRESSES, targetCheck, unusableTarget, unusableTls } from './checks/target-check.js';
import type { CheckResult, Checks } from './check-result.js';
import { doctorClient } from './doctor-client.js';
import type { DoctorOptions, Env } from './doctor-options.js';
import { clientWay, probeAddresses } from './probe-addresses.js';
import { resolveTarget } from './resolve-target.js';
import { TimeBudget } from './time-budget.js';

/** Result if the DNS query exceeds the time budget. The query's own timeout applies to each name server of the system. */
const DNS_IS_SILENT: CheckResult = {
  check: 'dns-config',
  status: 'skipped',
  says: 'not checked: no name server responded in time',
  facts: {},
};

/** Connects to `target` step by step like a client, as far as possible. Returns the services and methods found by reflection. */
export async function* checkTarget(target: string, options: DoctorOptions, env: Env): Checks<Reflected | undefined> {
  const unusable = unusableTarget(target);
  if (unusable !== undefined) {
    yield unusable;
    return undefined;
  }
  const made = doctorClient(target, options.tls);
  if (!made.ok) {
    yield unusableTls(target, made.problems);
    return undefined;
  }
  try {
    return yield* checkServer(made.client, options, env);
  } finally {
    await made.client.close();
  }
}

async function* checkServer(
  client: InternalGrpcClient,
  options: DoctorOptions,
  env: Env,
): Checks<Reflected | undefined> {
  const { target, canonicalTarget } = client;
  const { connectTimeoutMs, keepaliveMs: everyMs, service = '' } = options;
  const budget = new TimeBudget(systemClock, options.timeoutMs);
  const stepMs = () => Math.round(budget.leftMs(connectTimeoutMs));
  // Runs in parallel with the other checks, because a name server that does not respond takes seconds.
  const dnsConfig = dnsConfigCheck(target, systemRandom);

  const proxy = proxyCheck(target, canonicalTarget, env);
  if (proxy !== undefined) yield proxy;
  const resolution = await resolveTarget(canonicalTarget, budget, stepMs());
  yield targetCheck(target, resolution, env['GRPC_NODE_USE_ALTERNATIVE_RESOLVER'] === 'true');
  const addresses = resolution.ok ? resolution.addresses.slice(0, MAX_ADDRESSES) : [];
  const way = clientWay(canonicalTarget, options.tls, { connectTimeoutMs, budget });
  // Through a proxy, only the client itself connects.
  const probed = proxy === undefined ? await probeAddresses(addresses, way) : [];
  const usable = probed.find(isUsable);
  for (const one of probed) yield addressCheck(one, usable !== undefined);
  const name = options.tls?.serverName ?? dnsNameOf(canonicalTarget)?.host ?? 'localhost';
  yield* certificates(probed, name);

  let reflected: Reflected | undefined;
  if (usable !== undefined || (proxy !== undefined && addresses.length > 0)) {
    const ready = await clientCheck(client, stepMs(), budget);
    yield ready;
    if (ready.status === 'ok') {
      yield await healthCheck(client, service, stepMs(), budget);
      reflected = await reflectionCheck(client, stepMs(), options.serviceConfigFile !== undefined);
      yield reflected.result;
    }
  } else {
    yield { check: 'client', status: 'skipped', says: 'not checked: no usable address', facts: {} };
  }
  const found = await budget.within(budget.leftMs(options.timeoutMs), dnsConfig, DNS_IS_SILENT);
  if (found !== undefined) yield found;
  if (everyMs === undefined) return reflected;
  if (usable === undefined) {
    const why = proxy === undefined ? 'no usable address' : 'connections go through a proxy';
    yield { check: 'keepalive', status: 'skipped', says: `not checked: ${why}`, facts: {} };
  } else {
    const ownTime = { ...way, budget: new TimeBudget(systemClock, keepaliveMs(everyMs) + connectTimeoutMs) };
    yield await keepaliveCheck(usable.address, ownTime, everyMs);
  }
  return reflected;
}

/** Checks each distinct certificate once. Servers behind one name usually share a certificate. */
function* certificates(probed: readonly ProbedAddress[], name: string): Generator<CheckResult> {
  const seen = new Set<string | undefined>();
  for (const { probe } of probed) {
    const fingerprint = probe.tls?.certificate?.fingerprint256;
    if (probe.tls === undefined || seen.has(fingerprint)) continue;
    seen.add(fingerprint);
    yield certificateCheck(probe.tls, name, systemClock.epoch());
  }
}
