import { loadBalancingProblem } from '../../channel/channel-checks.js';
import { readBoundedFile } from '../../channel/read-bounded-file.js';
import { errorCode } from '../../channel/tls/tls-material.js';
import { loadContract, type Services } from '../../client/settings/contract.js';
import { methodWarnings } from '../../client/settings/settings-and-service-config.js';
import { problemCount, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { pathOf } from '../../policy/options/describe-value.js';
import { parseServiceConfig } from '../../policy/service-config/parse-service-config.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { counted } from '../../telemetry/log/log-text.js';
import { resultsOf, type CheckResult } from '../check-result.js';
import type { Reflected } from './reflection-check.js';

/** The known services and methods that a service config may name. */
interface KnownMethods {
  /** Source of the names, such as 'orders.proto' or 'reflection'. */
  readonly from: string;
  /** Full names of the services. */
  readonly services: readonly string[];
  /** The services with their methods; `undefined` if the methods are unknown. */
  readonly methods: Services | undefined;
  readonly problems?: undefined;
}

/** A .proto file that cannot be read. */
interface UnreadableProto {
  readonly problems: readonly ConfigurationProblem[];
  readonly from?: undefined;
}

/** Returns the problems that a client reports for a service config. */
export function serviceConfigProblems(value: unknown, path: string): readonly ConfigurationProblem[] {
  const parsed = parseServiceConfig(value, path);
  if (!parsed.ok) return parsed.problems;
  const { loadBalancingConfig } = parsed.config;
  const message = loadBalancingConfig === undefined ? undefined : loadBalancingProblem(loadBalancingConfig);
  return message === undefined ? [] : [{ path: pathOf(path, 'loadBalancingConfig'), message }];
}

/** Checks a service config in a file, and compares its names with a .proto file or, if none is given, with the result of reflection. */
export function serviceConfigCheck(
  file: string,
  protoFile: string | undefined,
  reflected: Reflected | undefined,
): CheckResult {
  const known = protoFile === undefined ? reflectedMethods(reflected) : methodsOfProto(protoFile);
  const result = resultsOf('service-config', { file, comparedWith: known?.from });
  if (known?.problems !== undefined) return result('failed', 'cannot read the methods', undefined, known.problems);
  let text: string;
  try {
    text = readBoundedFile(file).toString();
  } catch (error) {
    const remedy = 'check the path; it is relative to the working directory';
    return result('failed', `cannot read ${file} (${errorCode(error)})`, remedy);
  }
  const problems = serviceConfigProblems(text, '').map((problem) => ({ ...problem, path: problem.path || file }));
  if (problems.length > 0) {
    const remedy = 'fix the problems; a client with this service config does not start';
    return result('failed', `${file} has ${counted(problemCount(problems), 'problem')}`, remedy, problems);
  }
  const parsed = parseServiceConfig(text, '');
  const unknown = parsed.ok && known !== undefined ? unknownNames(file, parsed.config, known) : [];
  const message = `${file} is valid${known === undefined ? '' : `; its names were compared with ${known.from}`}`;
  if (unknown.length === 0) return result('ok', message);
  const remedy = 'fix these entries; an entry for an unknown service or method applies to no call';
  return result('warning', message, remedy, unknown);
}

function reflectedMethods(reflected: Reflected | undefined): KnownMethods | undefined {
  if (reflected?.services === undefined) return undefined;
  return { from: 'reflection', services: reflected.services, methods: reflected.methods };
}

function methodsOfProto(file: string): KnownMethods | UnreadableProto {
  try {
    // Checks the file size first, because the .proto parser reads without a limit.
    readBoundedFile(file);
  } catch (error) {
    const message = `cannot be read (${errorCode(error)}); check the path, which is relative to the working directory`;
    return { problems: [{ path: '--proto', message }] };
  }
  const contract = loadContract({ protoPath: file }, '--proto');
  if (!contract.ok) return { problems: contract.problems.map(({ message }) => ({ path: '--proto', message })) };
  return { from: file, services: [...contract.services.keys()], methods: contract.services };
}

function unknownNames(
  file: string,
  config: ParsedServiceConfig,
  { from, services, methods }: KnownMethods,
): ConfigurationProblem[] {
  const warnings = methods === undefined ? [] : methodWarnings(methods, config);
  const named = new Set(config.methodConfig.flatMap(({ names }) => names.map(({ service }) => service)));
  // `methodWarnings` already reports names without their package.
  const isReported = (service: string) =>
    warnings.some((warning) => warning.startsWith(`serviceConfig names ${service}, `));
  const unknown = [...named].filter((service) => service !== '' && !services.includes(service) && !isReported(service));
  const messages = unknown.map((service) => {
    const meant = closest(service, services);
    const hint = meant === undefined ? '' : `; did you mean ${meant}?`;
    return `serviceConfig names ${service}, which ${from} does not list${hint}`;
  });
  return [...messages, ...warnings].map((message) => ({ path: file, message }));
}
