import { GrpcMethodStreamingType } from '@nestjs/microservices';
import type { MethodDescriptor } from '../call/method.js';
import { packageOf, shortName } from '../client/settings/contract.js';
import { closest } from '../errors/closest.js';
import type { EventFields } from '../telemetry/log/log-line.js';
import { listed } from '../telemetry/log/log-text.js';
import type { HandlerNames } from './application-handlers.js';
import type { HandlerPattern, ServedHandlers } from './served-handlers.js';

const { NO_STREAMING, RX_STREAMING, PT_STREAMING } = GrpcMethodStreamingType;
const DECORATORS: Readonly<Record<GrpcMethodStreamingType, string>> = {
  [NO_STREAMING]: 'GrpcMethod',
  [RX_STREAMING]: 'GrpcStreamMethod',
  [PT_STREAMING]: 'GrpcStreamCall',
};

/** Servers of an application, and the names of its handlers. */
interface ApplicationHandlers {
  readonly servers: readonly ServedHandlers[];
  /** True if the application has a server whose services are unknown: a `Transport.GRPC` server, or one that is not connected. */
  readonly hasOtherServers: boolean;
  readonly names: HandlerNames;
}

/** A served method, and the shortest name by which a handler refers to its service. */
type ServedMethod = readonly [method: MethodDescriptor, service: string];

/**
 * Returns a line for each gRPC handler that serves no method of `servers`, and for each pattern with several handlers. Nest silently
 * ignores a handler that serves no method, and all handlers of a pattern except the last. If the application has other servers, omits
 * handlers of services that `servers` do not serve, because another server may serve them.
 */
export function unusedHandlerLines({ servers, hasOtherServers, names }: ApplicationHandlers): [string, EventFields][] {
  const lines: [string, EventFields][] = [];
  const patterns = servers.flatMap((server) => [...server.patterns()]);
  const matched = new Map(patterns.filter(([, { isServing }]) => isServing));
  for (const [route, { pattern }] of new Map(patterns)) {
    const { service, rpc: method } = pattern;
    const handlers = names.get(route) ?? [];
    const handler = handlers.at(-1);
    const services = servers.flatMap((server) =>
      [...server.services.keys()].filter((full) => server.namesOf(full).includes(service)),
    );
    const unused = listed(handlers.slice(0, -1));
    if (!matched.has(route)) {
      const problem =
        services.length > 0 || !hasOtherServers ? problemOf(pattern, servers, services[0], handler) : undefined;
      const text = `${decorator(pattern)}${handler === undefined ? '' : ` of ${handler}`} receives no calls: ${String(problem)}`;
      if (problem !== undefined) lines.push([text, { event: 'handler-unmatched', handler, service, method }]);
    } else if (unused !== '') {
      const full = listed([...new Set(services)].map((one) => decorator({ ...pattern, service: one })));
      const text =
        `${decorator(pattern)} of ${unused} receives no calls: ${String(handler)} has the same decorator and is registered later, ` +
        `so Nest uses it; keep only one handler${services.length > 1 ? `, or name the service of each in full: ${full}` : ''}`;
      lines.push([text, { event: 'handler-duplicate', handler, unused, service, method }]);
    }
  }
  return lines;
}

/** Returns the reason why a handler serves no method. `known` is the full name of its service if that is served. */
function problemOf(
  pattern: HandlerPattern,
  servers: readonly ServedHandlers[],
  known: string | undefined,
  handler: string | undefined,
): string {
  const { service, rpc, streaming } = pattern;
  const served = servedMethods(servers);
  const same = known === undefined ? undefined : served.get(`${service}/${rpc}`)?.[0];
  if (same !== undefined) {
    if (same.requestStream === (streaming !== NO_STREAMING))
      return `another handler serves ${same.path}; remove one of them`;
    const requests = same.requestStream ? 'streams its requests' : 'takes a single request';
    return `${same.path} ${requests}; write ${decoratorOf([same, service], pattern)}`;
  }
  const isNamed = (full: string): boolean => full === service || shortName(full) === service;
  const unserved = servers.flatMap(({ defined, services }) =>
    [...defined.keys()].filter((full) => !services.has(full) && isNamed(full)),
  );
  if (known === undefined && unserved[0] !== undefined)
    return `package '${packageOf(unserved[0])}' of its service is not served; add it to \`package\``;
  // The class of a handler is often named after its service.
  const guesses = [service, service.replace(/(Grpc)?(Controller|Service)?$/, '')].map(
    (name) => `${shortName(name)}/${rpc}`,
  );
  const meant = guesses
    .map((guess) => served.get(closest(guess, served.keys()) ?? ''))
    .find((one) => one !== undefined);
  const isDefault = handler?.startsWith(`${service}.`) === true;
  const cause = isDefault ? ' (Nest uses the class name if the decorator names no service)' : '';
  const problem =
    known === undefined
      ? `no service '${service}' is served${cause}`
      : `service ${meant?.[0].service ?? known} has no method '${rpc}'`;
  if (served.size === 0)
    return `${problem}, because the server has no services; write the package of the service in \`package\``;
  if (meant !== undefined) return `${problem}; did you mean ${decoratorOf(meant, pattern)}?`;
  const names = [...served.values()].flatMap(([one, name]) => {
    if (known === undefined) return [`'${name}'`];
    return one.service === known ? [`'${one.method}'`] : [];
  });
  return `${problem}; write one of ${known === undefined ? 'the served services' : 'its methods'}: ${listed([...new Set(names)])}`;
}

/** Returns the methods by the names under which a handler, or its author, looks for them: 'Orders/Get', 'orders.v1.Orders/Get'. */
function servedMethods(servers: readonly ServedHandlers[]): ReadonlyMap<string, ServedMethod> {
  const found = new Map<string, ServedMethod>();
  for (const server of servers) {
    for (const [full, methods] of server.services) {
      const names = server.namesOf(full);
      for (const method of methods.values()) {
        for (const name of [shortName(full), ...names]) {
          found.set(`${name}/${method.method}`, [method, names[0] ?? full]);
          if (method.alias !== undefined) found.set(`${name}/${method.alias}`, [method, names[0] ?? full]);
        }
      }
    }
  }
  return found;
}

/** Returns the decorator with both arguments, including those that the user omitted and Nest filled in. */
function decorator({ service, rpc, streaming }: HandlerPattern): string {
  return `@${DECORATORS[streaming]}('${service}', '${rpc}')`;
}

/** Returns the decorator for a handler of a method. */
function decoratorOf([{ method, requestStream }, service]: ServedMethod, { streaming }: HandlerPattern): string {
  const fitting = streaming === NO_STREAMING ? RX_STREAMING : streaming;
  return decorator({ service, rpc: method, streaming: requestStream ? fitting : NO_STREAMING });
}
