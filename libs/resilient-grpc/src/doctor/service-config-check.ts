import { accessSync, constants, readFileSync } from 'node:fs';
import { loadBalancingProblem } from '../channel/channel-checks.js';
import { errorCode } from '../channel/tls/tls-material.js';
import { loadContract } from '../client/settings/contract.js';
import { methodWarnings } from '../client/settings/settings-and-service-config.js';
import { parseServiceConfig, type ServiceConfigResult } from '../policy/service-config/parse-service-config.js';
import { counted } from '../telemetry/log/log-text.js';
import { resultsOf, type CheckResult } from './check-result.js';

const WORKING_DIRECTORY = 'check the path, which is relative to the working directory';

/** Parses a service config as a client does, including the policies that the installed grpc-js does not support. */
function parse(text: string): ServiceConfigResult {
  const parsed = parseServiceConfig(text, '');
  const { loadBalancingConfig } = parsed.ok ? parsed.config : {};
  const message = loadBalancingConfig && loadBalancingProblem(loadBalancingConfig);
  return message === undefined ? parsed : { ok: false, problems: [{ path: 'loadBalancingConfig', message }] };
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
  const parsed = parse(text);
  if (!parsed.ok) {
    const problems = parsed.problems.map((problem) => ({ ...problem, path: problem.path || file }));
    const remedy = 'fix the problems; a client with this service config does not start';
    return result('failed', `${file} has ${counted(problems.length, 'problem')}`, remedy, problems);
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
