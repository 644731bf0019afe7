import { dnsNameOf } from '../channel/dns/dns-name.js';
import type { InnerClient } from '../client/inner-client.js';
import { systemClock } from '../time/clock.js';
import { systemRandom } from '../time/random.js';
import { addressCheck, isUsable, type ProbedAddress } from './checks/address.js';
import { certificateCheck } from './checks/certificate.js';
import { clientCheck } from './checks/client.js';
import { dnsConfigCheck } from './checks/dns-config.js';
import { healthCheck } from './checks/health.js';
import { keepaliveCheck, keepaliveMs } from './checks/keepalive.js';
import { proxyCheck } from './checks/proxy.js';
import { reflectionCheck, type Reflected } from './checks/reflection.js';
import { MAX_ADDRESSES, targetCheck, unusableTarget, unusableTls } from './checks/target.js';
import type { CheckResult, Checks } from './check-result.js';
import { doctorClient } from './doctor-client.js';
import type { DoctorOptions, Env } from './doctor-options.js';
import { clientWay, probeAddresses } from './probe-addresses.js';
import { resolveTarget } from './resolve-target.js';
import { TimeBudget } from './time-budget.js';

/** Its own patience counts each name server of the system. */
const DNS_IS_SILENT: CheckResult = {
  check: 'dns-config',
  status: 'skipped',
  says: 'cannot be asked for: no name server has answered in time',
  facts: {},
};

/** Goes the way of a client to `target`, as far as it leads. Gives what the server has told of its methods. */
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

async function* checkServer(client: InnerClient, options: DoctorOptions, env: Env): Checks<Reflected | undefined> {
  const { target, canonicalTarget } = client;
  const { connectTimeoutMs, keepaliveMs: everyMs, service = '' } = options;
  const budget = new TimeBudget(systemClock, options.timeoutMs);
  const stepMs = () => Math.round(budget.leftMs(connectTimeoutMs));
  // Asked for beside the rest: name servers that are silent take seconds.
  const dnsConfig = dnsConfigCheck(target, systemRandom);

  const proxy = proxyCheck(target, canonicalTarget, env);
  if (proxy !== undefined) yield proxy;
  const resolution = await resolveTarget(canonicalTarget, budget, stepMs());
  yield targetCheck(target, resolution, env['GRPC_NODE_USE_ALTERNATIVE_RESOLVER'] === 'true');
  const addresses = resolution.ok ? resolution.addresses.slice(0, MAX_ADDRESSES) : [];
  const way = clientWay(canonicalTarget, options.tls, { connectTimeoutMs, budget });
  // What a proxy is to be asked for is the client's business.
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
    yield { check: 'client', status: 'skipped', says: 'not tried: no address can be used', facts: {} };
  }
  const found = await budget.within(budget.leftMs(options.timeoutMs), dnsConfig, DNS_IS_SILENT);
  if (found !== undefined) yield found;
  if (everyMs === undefined) return reflected;
  if (usable === undefined) {
    const why = proxy === undefined ? 'no address can be used' : 'connections go through a proxy';
    yield { check: 'keepalive', status: 'skipped', says: `not tried: ${why}`, facts: {} };
  } else {
    const ownTime = { ...way, budget: new TimeBudget(systemClock, keepaliveMs(everyMs) + connectTimeoutMs) };
    yield await keepaliveCheck(usable.address, ownTime, everyMs);
  }
  return reflected;
}

/** Each certificate once: servers behind one name mostly share theirs. */
function* certificates(probed: readonly ProbedAddress[], name: string): Generator<CheckResult> {
  const seen = new Set<string | undefined>();
  for (const { probe } of probed) {
    const fingerprint = probe.tls?.certificate?.fingerprint256;
    if (probe.tls === undefined || seen.has(fingerprint)) continue;
    seen.add(fingerprint);
    yield certificateCheck(probe.tls, name, systemClock.epoch());
  }
}
