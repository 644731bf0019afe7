import { loadBalancingProblem } from '../../channel/channel-checks.js';
import { readBoundedFile } from '../../channel/read-bounded-file.js';
import { errorCode } from '../../channel/tls/tls-material.js';
import type { Services } from '../../client/settings/contract.js';
import { methodWarnings } from '../../client/settings/settings-and-service-config.js';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { pathOf } from '../../policy/options/describe-value.js';
import { parseServiceConfig } from '../../policy/service-config/parse-service-config.js';
import type { ParsedServiceConfig } from '../../policy/service-config/service-config.js';
import { counted } from '../../telemetry/log/log-text.js';
import type { CheckResult } from '../check-result.js';

/** The known services and methods that a service config may name. */
export interface KnownMethods {
  /** Source of the names, such as 'orders.proto' or 'reflection'. */
  readonly from: string;
  /** Full names of the services. */
  readonly services: readonly string[];
  /** The services with their methods; `undefined` if the methods are unknown. */
  readonly methods: Services | undefined;
}

/** Returns all problems of a service config, by the same rules as the client. */
export function serviceConfigProblems(value: unknown, path: string): readonly ConfigurationProblem[] {
  const parsed = parseServiceConfig(value, path);
  if (!parsed.ok) return parsed.problems;
  const { loadBalancingConfig } = parsed.config;
  const reason = loadBalancingConfig === undefined ? undefined : loadBalancingProblem(loadBalancingConfig);
  if (reason === undefined) return [];
  const message = `expected a policy that grpc-js supports, got none (${reason}); write [{ "round_robin": {} }]`;
  return [{ path: pathOf(path, 'loadBalancingConfig'), message }];
}

/** Checks a service config in a file. */
export function serviceConfigCheck(
  file: string,
  compared: KnownMethods | readonly ConfigurationProblem[] | undefined,
): CheckResult {
  if (isProblems(compared)) {
    return {
      check: 'service-config',
      status: 'failed',
      says: 'cannot read the methods',
      problems: compared,
      facts: { file },
    };
  }
  const known = compared;
  const facts = { file, comparedWith: known?.from };
  let text: string;
  try {
    text = readBoundedFile(file).toString();
  } catch (error) {
    const says = `cannot read ${file} (${errorCode(error)})`;
    return {
      check: 'service-config',
      status: 'failed',
      says,
      remedy: 'check the path; it is relative to the working directory',
      facts,
    };
  }
  const problems = serviceConfigProblems(text, '').map((problem) => ({ ...problem, path: problem.path || file }));
  if (problems.length > 0) {
    const says = `${file} has ${counted(problems.length, 'problem')}`;
    const remedy = 'fix the problems; a client with this service config does not start';
    return { check: 'service-config', status: 'failed', says, remedy, problems, facts };
  }
  const parsed = parseServiceConfig(text, '');
  const unknown = parsed.ok && known !== undefined ? unknownNames(file, parsed.config, known) : [];
  const says = `${file} is valid${known === undefined ? '' : `, compared with ${known.from}`}`;
  if (unknown.length === 0) return { check: 'service-config', status: 'ok', says, facts };
  const remedy = 'fix the names; entries for unknown services and methods apply to no call';
  return {
    check: 'service-config',
    status: 'warning',
    says,
    remedy,
    problems: unknown,
    facts,
  };
}

function isProblems(
  compared: KnownMethods | readonly ConfigurationProblem[] | undefined,
): compared is readonly ConfigurationProblem[] {
  return Array.isArray(compared);
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
    return `serviceConfig names ${service}, which ${from} does not have${hint}`;
  });
  return [...messages, ...warnings].map((message) => ({ path: file, message }));
}
