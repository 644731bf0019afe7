import { accessSync, constants, readFileSync } from 'node:fs';
import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';
import { hostname } from 'node:os';
import { loadBalancingProblem } from '../channel/channel-checks.js';
import { dnsNameOf } from '../channel/dns/dns-refresh.js';
import { DNS_QUERY, serviceConfigName, serviceConfigRecord } from '../channel/dns/dns-service-config.js';
import { errorCode } from '../channel/tls/tls-material.js';
import { loadContract } from '../client/settings/contract.js';
import { methodWarnings } from '../client/settings/settings-and-service-config.js';
import { errorMessage } from '../errors/error-message.js';
import { problemCount } from '../errors/grpc-configuration-error.js';
import { pathOf } from '../policy/options/describe-value.js';
import { chooseServiceConfig } from '../policy/service-config/choose-service-config.js';
import { parseServiceConfig, type ServiceConfigResult } from '../policy/service-config/parse-service-config.js';
import { counted } from '../telemetry/log/log-text.js';
import { systemRandom } from '../time/random.js';
import { resultsOf, type CheckResult } from './check-result.js';

const WORKING_DIRECTORY = 'check the path, which is relative to the working directory';

/** Parses a service config as a client does, including the policies that the installed grpc-js does not support. */
function parse(value: unknown, path: string): ServiceConfigResult {
  const parsed = parseServiceConfig(value, path);
  const { loadBalancingConfig } = parsed.ok ? parsed.config : {};
  const message = loadBalancingConfig && loadBalancingProblem(loadBalancingConfig);
  return message === undefined
    ? parsed
    : { ok: false, problems: [{ path: pathOf(path, 'loadBalancingConfig'), message }] };
}

/**
 * Checks a service config in a file, and compares its names with a .proto file or, if none is given, with the services that reflection
 * lists.
 */
export function serviceConfigCheck(
  file: string,
  protoFile: string | undefined,
  reflected: CheckResult | undefined,
): CheckResult {
  const contract = protoFile === undefined ? undefined : contractOf(protoFile);
  const methods = contract?.ok === true ? contract.services : undefined;
  // Safe: the reflection check writes it.
  const listed = reflected?.facts['services'] as readonly string[] | undefined;
  const comparedWith = protoFile ?? (listed === undefined ? undefined : 'reflection');
  const result = resultsOf('service-config', { file, comparedWith });
  if (contract?.ok === false) return result('failed', 'cannot read the methods', undefined, contract.problems);
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    return result('failed', `cannot read ${file} (${errorCode(error)})`, WORKING_DIRECTORY);
  }
  const parsed = parse(text, '');
  if (!parsed.ok) {
    const problems = parsed.problems.map((problem) => ({ ...problem, path: problem.path || file }));
    const remedy = 'fix the problems; a client with this service config does not start';
    return result('failed', `${file} has ${counted(problemCount(problems), 'problem')}`, remedy, problems);
  }
  const known = methods === undefined ? listed : [...methods.keys()];
  const named = new Set(parsed.config.methodConfig.flatMap(({ names }) => names.map(({ service }) => service)));
  const warnings = methods === undefined ? [] : methodWarnings(methods, parsed.config);
  // `methodWarnings` already reports names without their package.
  const isReported = (service: string) => warnings.some((one) => one.startsWith(`serviceConfig names ${service}, `));
  for (const service of named)
    if (known !== undefined && service !== '' && !known.includes(service) && !isReported(service))
      warnings.unshift(`serviceConfig names ${service}, which ${comparedWith ?? ''} does not list`);
  const compared = comparedWith === undefined ? '' : `; its names were compared with ${comparedWith}`;
  if (warnings.length === 0) return result('ok', `${file} is valid${compared}`);
  const remedy = 'fix these entries; an entry for an unknown service or method applies to no call';
  return result(
    'warning',
    `${file} is valid${compared}`,
    remedy,
    warnings.map((message) => ({ path: file, message })),
  );
}

function contractOf(protoFile: string): ReturnType<typeof loadContract> {
  try {
    accessSync(protoFile, constants.R_OK);
  } catch (error) {
    const message = `cannot be read (${errorCode(error)}); ${WORKING_DIRECTORY}`;
    return { ok: false, problems: [{ path: '--proto', message }] };
  }
  const contract = loadContract({ protoPath: protoFile }, '--proto');
  return contract.ok
    ? contract
    : { ok: false, problems: contract.problems.map((one) => ({ ...one, path: '--proto' })) };
}

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
  const parsed = choice.ok ? parse(choice.serviceConfig ?? {}, choice.path) : choice;
  if (!parsed.ok) {
    const remedy =
      'fix the record; until then, clients that read it start without a service config or keep the previous one';
    return result('failed', `invalid TXT record ${record}`, remedy, parsed.problems);
  }
  if (choice.ok && choice.serviceConfig === undefined) {
    return result('ok', `TXT record ${record} is valid, but has no service config for this client`);
  }
  return result('ok', `TXT record ${record} is valid; clients with serviceConfig: dnsServiceConfig() use it`);
}
