import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { dnsNameOf } from '../../channel/dns/dns-name.js';
import { DNS_QUERY, serviceConfigName, serviceConfigRecord } from '../../channel/dns/service-config-record.js';
import { chooseServiceConfig } from '../../policy/service-config/choose-service-config.js';
import { systemRandom } from '../../time/random.js';
import { resultsOf, type CheckResult } from '../check-result.js';
import { serviceConfigProblems } from './service-config-check.js';
import { errorMessage } from '../../errors/error-message.js';

/** Checks the service config in DNS for the target, if there is one. Returns `undefined` if the target is not a DNS name. */
export async function dnsConfigCheck(target: string): Promise<CheckResult | undefined> {
  const name = dnsNameOf(target);
  if (name === undefined || isIP(name.host) !== 0) return undefined;
  const record = serviceConfigName(name.host);
  const withoutRecord = resultsOf('dns-config', { name: record });
  const resolver = new Resolver(DNS_QUERY);
  let text: string | undefined;
  try {
    if (name.authority !== undefined) resolver.setServers([name.authority]);
    text = await serviceConfigRecord(resolver, record);
  } catch (error) {
    const why = errorMessage(error);
    const remedy = 'fix the name server only if a client uses dnsServiceConfig()';
    return withoutRecord('skipped', `TXT query failed: ${why}`, remedy);
  }
  if (text === undefined) return withoutRecord('skipped', `no TXT record ${record}; it is optional`);

  const result = resultsOf('dns-config', { name: record, record: text });
  const client = { hostname: hostname(), percentile: systemRandom() * 100 };
  const choice = chooseServiceConfig(text, record, client);
  const problems = choice.ok ? serviceConfigProblems(choice.serviceConfig ?? {}, choice.path) : choice.problems;
  if (problems.length > 0) {
    const remedy =
      'fix the record; until then, clients that read it start without a service config or keep the previous one';
    return result('failed', `invalid TXT record ${record}`, remedy, problems);
  }
  if (choice.ok && choice.serviceConfig === undefined) {
    return result('ok', `TXT record ${record} is valid, but has no service config for this client`);
  }
  return result('ok', `TXT record ${record} is valid; clients with serviceConfig: dnsServiceConfig() use it`);
}
