import { GrpcMethodStreamingType } from '@nestjs/microservices';
import type { MethodDescriptor } from '../call/method.js';
import { packageOf, shortName } from '../client/settings/contract.js';
import { closest } from '../errors/closest.js';
import { LogLine } from '../telemetry/log/log-line.js';
import { counted, listed } from '../telemetry/log/log-text.js';
import type { HandlerNames } from './application-handlers.js';
import type { HandlerPattern, ServedHandlers } from './served-handlers.js';

/** Maximum number of names in a line. */
const MAX_LISTED = 5;

const DECORATORS: Readonly<Record<GrpcMethodStreamingType, string>> = {
  [GrpcMethodStreamingType.NO_STREAMING]: 'GrpcMethod',
  [GrpcMethodStreamingType.RX_STREAMING]: 'GrpcStreamMethod',
  [GrpcMethodStreamingType.PT_STREAMING]: 'GrpcStreamCall',
};

/** Servers of an application, and the names of its handlers. */
interface ApplicationHandlers {
  readonly servers: readonly ServedHandlers[];
  /** True if the application has a server whose services are unknown: a `Transport.GRPC` server, or one that is not connected. */
  readonly hasOtherServers: boolean;
  readonly names: HandlerNames;
}

/**
 * Returns a line for each gRPC handler that serves no method of `servers`, and for each pattern with several handlers. Nest silently
 * ignores a handler that serves no method, and all handlers of a pattern except the last. If the application has other servers, omits
 * handlers of services that `servers` do not serve, because another server may serve them.
 */
export function unusedHandlerLines({ servers, hasOtherServers, names }: ApplicationHandlers): LogLine[] {
  const unmatched = new Map<string, HandlerPattern>();
  const matched = new Map<string, HandlerPattern>();
  for (const server of servers) {
    for (const [route, { pattern, isServing }] of server.patterns()) {
      if (isServing) matched.set(route, pattern);
      else unmatched.set(route, pattern);
    }
  }
  const lines: LogLine[] = [];
  for (const [route, pattern] of matched) {
    const replaced = [...(names.get(route) ?? [])];
    const handler = replaced.pop();
    if (replaced.length > 0) lines.push(duplicateLine(pattern, handler, listNames(replaced, String), servers));
  }
  for (const [route, pattern] of unmatched) {
    if (matched.has(route)) continue;
    const name = names.get(route)?.at(-1);
    const problem =
      methodProblem(pattern, servers) ?? (hasOtherServers ? undefined : serviceProblem(pattern, servers, name));
    if (problem === undefined) continue;
    const owner = name === undefined ? '' : ` of ${name}`;
    const text = `${decorator(pattern)}${owner} receives no calls: ${problem}`;
    const { service, rpc: method } = pattern;
    lines.push(new LogLine('warn', text, { event: 'handler-unmatched', handler: name, service, method }));
  }
  return lines;
}

/** Returns the line of a pattern with several handlers, of which `handler` receives the calls. */
function duplicateLine(
  pattern: HandlerPattern,
  handler: string | undefined,
  unused: string,
  servers: readonly ServedHandlers[],
): LogLine {
  const { service, rpc: method } = pattern;
  const meant = servers.flatMap((server) =>
    [...server.services.keys()].filter((full) => server.namesOf(full).includes(service)),
  );
  const full = listNames([...new Set(meant)], (name) => decorator({ ...pattern, service: name }));
  const text =
    `${decorator(pattern)} of ${unused} receives no calls: ${String(handler)} has the same decorator and is registered later, ` +
    `so Nest uses it; keep only one handler${meant.length > 1 ? `, or name the service of each in full: ${full}` : ''}`;
  return new LogLine('warn', text, { event: 'handler-duplicate', handler, unused, service, method });
}

/** Returns the problem of a handler whose service is served; `undefined` if the service is not served. */
function methodProblem(pattern: HandlerPattern, servers: readonly ServedHandlers[]): string | undefined {
  const methods: MethodDescriptor[] = [];
  for (const server of servers) {
    for (const [service, own] of server.services) {
      if (server.namesOf(service).includes(pattern.service)) methods.push(...own.values());
    }
  }
  const [first] = methods;
  if (first === undefined) return undefined;
  const { rpc } = pattern;
  const same = methodNamed(rpc, methods);
  if (same === undefined) {
    const meant = nearestMethod(rpc, methods);
    const problem = `service ${(meant ?? first).service} has no method '${rpc}'`;
    if (meant === undefined)
      return `${problem}; write one of its methods: ${listNames(methods.map(({ method }) => method))}`;
    return `${problem}; did you mean ${decoratorOf(meant, pattern.service, pattern)}?`;
  }
  const isStreamHandler = pattern.streaming !== GrpcMethodStreamingType.NO_STREAMING;
  if (isStreamHandler === same.requestStream) return `another handler serves ${same.path}; remove one of them`;
  const streams = same.requestStream ? 'streams its requests' : 'takes a single request';
  return `${same.path} ${streams}; write ${decoratorOf(same, pattern.service, pattern)}`;
}

/** Returns the problem of a handler whose service is not served. */
function serviceProblem(pattern: HandlerPattern, servers: readonly ServedHandlers[], name: string | undefined): string {
  const { service, rpc } = pattern;
  const isDefault = name?.startsWith(`${service}.`) === true;
  const cause = isDefault ? ' (Nest uses the class name if the decorator names no service)' : '';
  const problem = `no service '${service}' is served${cause}`;
  for (const { defined, services } of servers) {
    const isMeant = (full: string) => !services.has(full) && (full === service || shortName(full) === service);
    const unserved = [...defined.keys()].find(isMeant);
    if (unserved !== undefined)
      return `package '${packageOf(unserved)}' of its service is not served; add it to \`package\``;
  }
  const served = servers.flatMap((server) =>
    [...server.services].map(([full, methods]) => ({
      full,
      methods: [...methods.values()],
      names: server.namesOf(full),
    })),
  );
  if (served.length === 0)
    return `${problem}, because the server has no services; write the package of the service in \`package\``;
  // The class of a handler is often named after its service.
  for (const guess of [service, service.replace(/(Grpc)?(Controller|Service)?$/, '')]) {
    const short = served.filter(({ full }) => shortName(full) === shortName(guess));
    const name = closest(
      guess,
      served.flatMap((entry) => entry.names),
    );
    const near = short.length > 0 ? short : served.filter(({ names }) => name !== undefined && names.includes(name));
    const [first] = near;
    if (first === undefined) continue;
    const methods = near.flatMap((entry) => entry.methods);
    const meant = methodNamed(rpc, methods) ?? nearestMethod(rpc, methods);
    const owner = near.find(({ full }) => full === meant?.service) ?? first;
    const write = owner.names[0] ?? owner.full;
    return `${problem}; did you mean ${meant === undefined ? `service '${write}'` : decoratorOf(meant, write, pattern)}?`;
  }
  const known = new Set(served.map(({ names: [shortest], full }) => shortest ?? full));
  return `${problem}; write one of the served services: ${listNames([...known])}`;
}

/** Finds a method by the name in its proto, or by the name in Nest if that differs. */
function methodNamed(name: string, methods: readonly MethodDescriptor[]): MethodDescriptor | undefined {
  return methods.find(({ method, alias }) => method === name || alias === name);
}

function nearestMethod(name: string, methods: readonly MethodDescriptor[]): MethodDescriptor | undefined {
  const nearest = closest(
    name,
    methods.map(({ method }) => method),
  );
  return methods.find(({ method }) => method === nearest);
}

/** Returns the decorator with both arguments, including those that the user omitted and Nest filled in. */
function decorator({ service, rpc, streaming }: HandlerPattern): string {
  return `@${DECORATORS[streaming]}('${service}', '${rpc}')`;
}

/** Returns the decorator for a handler of `method`. */
function decoratorOf(
  { method, requestStream }: MethodDescriptor,
  service: string,
  { streaming }: HandlerPattern,
): string {
  const { NO_STREAMING, RX_STREAMING } = GrpcMethodStreamingType;
  const fitting = streaming === NO_STREAMING ? RX_STREAMING : streaming;
  return decorator({ service, rpc: method, streaming: requestStream ? fitting : NO_STREAMING });
}

function listNames(known: readonly string[], format = (name: string) => `'${name}'`): string {
  return listed(
    known.map((name) => format(name)),
    MAX_LISTED,
    (count) => `and ${counted(count, 'other')}`,
  );
}
