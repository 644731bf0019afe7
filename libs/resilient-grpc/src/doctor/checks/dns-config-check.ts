import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { dnsNameOf } from '../../channel/dns/dns-name.js';
import { DNS_QUERY, serviceConfigName, serviceConfigRecord } from '../../channel/dns/service-config-record.js';
import { chooseServiceConfig } from '../../policy/service-config/choose-service-config.js';
import type { Random } from '../../time/random.js';
import type { CheckResult } from '../check-result.js';
import { serviceConfigProblems } from './service-config-check.js';

/** Checks the service config in DNS for the target, if there is one. Returns `undefined` if the target is not a DNS name. */
export async function dnsConfigCheck(target: string, random: Random): Promise<CheckResult | undefined> {
  const name = dnsNameOf(target);
  if (name === undefined || isIP(name.host) !== 0) return undefined;
  const record = serviceConfigName(name.host);
  const result = (rest: Omit<CheckResult, 'check' | 'facts'>, facts: object = {}): CheckResult => {
    return { check: 'dns-config', ...rest, facts: { name: record, ...facts } };
  };
  const resolver = new Resolver(DNS_QUERY);
  let text: string | undefined;
  try {
    if (name.authority !== undefined) resolver.setServers([name.authority]);
    text = await serviceConfigRecord(resolver, record);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const remedy = 'nothing, unless a client uses dnsServiceConfig(): then its name server must answer';
    return result({ status: 'skipped', says: `cannot be asked for: ${why}`, remedy });
  }
  if (text === undefined)
    return result({ status: 'skipped', says: `there is no TXT record ${record}, and none is needed` });

  const client = { hostname: hostname(), percentile: random() * 100 };
  const choice = chooseServiceConfig(text, record, client);
  const problems = choice.ok ? serviceConfigProblems(choice.serviceConfig ?? {}, choice.path) : choice.problems;
  if (problems.length > 0) {
    const remedy =
      'mend the record; until then a client that reads it starts without a service config, or keeps what it had';
    return result({ status: 'failed', says: `the TXT record ${record} is wrong`, remedy, problems }, { record: text });
  }
  if (choice.ok && choice.serviceConfig === undefined) {
    return result(
      { status: 'ok', says: `the TXT record ${record} is valid, and has nothing for this client` },
      { record: text },
    );
  }
  const says = `the TXT record ${record} is valid; clients with serviceConfig: dnsServiceConfig() read it`;
  return result({ status: 'ok', says }, { record: text });
}
