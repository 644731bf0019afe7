import { Resolver } from 'node:dns';
import { isIP, isIPv6 } from 'node:net';
import { ChannelCredentials, credentials } from '@grpc/grpc-js';
import { escapeControls, errorMessage, maskAddress } from '../errors/error-message.js';
import { parseChoiceCount, LEAST_REQUEST_POLICY_NAME } from '../policy/balancing/least-request.js';
import { readOutlierDetection, type BalancingPolicies } from '../policy/ejection/outlier-detection.js';
import { describeValue, truncate } from '../policy/options/describe-value.js';
import { dnsNameOf } from './dns/dns-refresh.js';
import { isObservingPolicy } from './connection/load-balancing-policy.js';
import { experimental, isPolicyRegistered } from './quirks/experimental.js';
import { registeredResolver, resolverOf } from './quirks/library-resolver.js';

/** Maximum length of a target in characters. A list of 1,000 addresses is shorter. */
const MAX_TARGET_LENGTH = 65_536;
/** Maximum number of policies that an error message lists. */
const MAX_POLICIES = 3;
/** Maximum length, in characters, of the reason why a policy cannot be used. */
const MAX_REASON_LENGTH = 200;
/** IP version and list of an `ipv4:` or `ipv6:` target. Like grpc-js, accepts and ignores an authority that is followed by a slash. */
const IP_TARGET = /^ipv([46]):(?:\/\/[^/]*\/)?(.+)$/;
/** Schemes of gRPC's naming document that grpc-js looks up as hosts. An application may register others after this check. */
const SCHEME = /^(unix-abstract|vsock):/i;

/**
 * Describes why grpc-js could not create a channel for `url`, or would never connect; `undefined` if `url` is a usable target.
 *
 * @param minPort lowest valid port; 0 if the system may choose one
 */
export function targetProblem(url: string, minPort = 1): string | undefined {
  if (url.length > MAX_TARGET_LENGTH)
    return `expected a target of at most ${String(MAX_TARGET_LENGTH)} characters, got ${String(url.length)}`;
  if (url.trim() === '') return "expected a target such as 'orders:50051', got an empty string";
  if (/\s/.test(url)) return `expected a target without whitespace, got ${JSON.stringify(maskAddress(url))}`;
  const scheme = /^(https?|grpcs?|tcp|tls):\/\//i.exec(url);
  if (scheme !== null) {
    const rest = url.slice(scheme[0].length).replace(/\/+$/, '');
    // `minPort` is 0 only for the listen address of a server.
    const tls = minPort === 0 ? 'credentials' : 'tls: {}';
    const secure = /^(https|grpcs|tls)$/i.test(scheme[1] ?? '') ? ` and \`${tls}\`` : '';
    return `expected a gRPC target, got '${maskAddress(url)}', whose scheme gRPC does not support; write '${rest.slice(rest.lastIndexOf('@') + 1)}'${secure}`;
  }
  const shown = maskAddress(url);
  if (shown !== url) {
    if (hasCustomResolver(url)) return undefined;
    return `expected a target without credentials, got '${shown}'; send them as \`metadata\``;
  }
  if (url.startsWith('kubernetes:')) return kubernetesProblem(url);
  const [, own] = SCHEME.exec(url) ?? [];
  if (own !== undefined && resolverProblem(url) !== undefined)
    return `expected a scheme that has a resolver (dns, ipv4, ipv6, unix, kubernetes, or a registered one), got '${own}' in '${url}'`;
  const authority = /^dns:\/\/([^/]+)\//.exec(url)?.[1];
  if (authority !== undefined && !isNameServer(authority))
    return `expected the IP address of a name server with an optional port, got '${authority}' in '${url}'`;
  // grpc-js accepts a target with a path or without a host, but every call then fails.
  if (/^((?:dns:(?:\/\/[^/]*\/)?)?(?:\[[^\]]*\]|[^:/[\]]+):\d+)\//.test(url))
    return `expected a target without a path, got '${url}'`;
  if (/^(?:dns:(?:\/\/[^/]*\/)?)?:\d+$/.test(url)) return `expected a host before the port, got '${url}'`;
  // grpc-js requires a slash after the authority, and looks up everything after 'dns:' otherwise.
  if (/^dns:\/{1,2}[^/]+$/.test(url)) return `expected three slashes after 'dns:', got '${url}'`;
  const [, version = '', ips = ''] = IP_TARGET.exec(url) ?? [];
  const notIp = version === '' ? undefined : ips.split(',').find((one) => isIP(ipOf(one)) !== Number(version));
  if (notIp !== undefined) return `expected IPv${version} addresses after 'ipv${version}:', got '${notIp}' in '${url}'`;
  const address = addressOf(url);
  if (address?.includes(',') === true)
    return `expected one address or name, or a list of IP addresses after 'ipv4:' or 'ipv6:', got '${url}'`;
  const [, ip = ''] = /^([\da-f:]+):\d+$/i.exec(address ?? '') ?? [];
  if (isIPv6(ip) && !isIPv6(address ?? '')) return `expected brackets around an IPv6 address with a port, got '${url}'`;
  for (const port of addressesOf(url).map(portOf)) {
    if (port === undefined) continue;
    if (!/^\d+$/.test(port) || Number(port) > 65_535 || Number(port) < minPort)
      return `expected a port from ${String(minPort)} to 65535, got '${port}' in '${url}'`;
  }
  return undefined;
}

/** Returns the host of 'host:port', 'host', or '[::1]:port', without brackets. */
function ipOf(address: string): string {
  return isIP(address) === 0 ? (dnsNameOf(address)?.host ?? address) : address;
}

/**
 * True if the application registered a resolver for the scheme of `url`. The target may then contain credentials, as in
 * 'consul://token@agent:8500/orders'.
 */
function hasCustomResolver(url: string): boolean {
  return resolverOf(url) !== undefined;
}

/** Returns why no resolver accepts `url`, which has a scheme other than `dns:`, in the words of grpc-js or the resolver. */
function resolverProblem(url: string): string | undefined {
  try {
    registeredResolver(url);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** Describes why no resolver accepts a `kubernetes:` target; `undefined` if one does. */
function kubernetesProblem(url: string): string | undefined {
  const problem = resolverProblem(url);
  // grpc-js has no resolver for the scheme.
  return problem?.startsWith('No resolver') === true
    ? "expected a registered resolver for 'kubernetes:', got none; call registerKubernetesResolver() from nestjs-resilient-grpc/kubernetes before the module that contains this client is configured"
    : problem;
}

/** True if `authority` is a valid name server. grpc-js passes it to Node's resolver, which throws otherwise. */
function isNameServer(authority: string): boolean {
  try {
    new Resolver().setServers([authority]);
    return true;
  } catch {
    return false;
  }
}

/** True if `url`, or an address in its list, lacks a port. gRPC would then use 443. */
export function lacksPort(url: string): boolean {
  return addressesOf(url).some((address) => portOf(address) === undefined);
}

/** True if `url` contains a DNS name instead of an IP address. */
export function isDnsName(url: string): boolean {
  const name = dnsNameOf(url);
  return name !== undefined && isIP(name.host) === 0;
}

/**
 * Returns the name of the first policy in `config` that grpc-js supports; `undefined` if no policy is supported. If that policy is outlier
 * detection, returns the name of its child policy, which selects the endpoints.
 */
export function policyNameOf(config: BalancingPolicies): string | undefined {
  return evaluate(config).name;
}

/**
 * Returns the message for a `loadBalancingConfig` without a policy that grpc-js can use; `undefined` for any other config. Without this
 * check, grpc-js would report an invalid config by failing every call.
 */
export function loadBalancingProblem(config: BalancingPolicies): string | undefined {
  const { unusable } = evaluate(config);
  if (unusable === undefined) return undefined;
  // The remedy is valid TypeScript and valid JSON.
  return `expected a policy that grpc-js supports, got ${unusable}; write [{ "round_robin": {} }]`;
}

/** Result of the evaluation of one policy or a list of policies. */
interface Evaluation {
  /** Name of the policy that selects the endpoints, if grpc-js can use the policy or one policy of the list. */
  readonly name?: string | undefined;
  /** Description of the policy or policies; `undefined` if grpc-js can use the policy or one policy of the list. */
  readonly unusable?: string;
}

/** Evaluates the policies of `config` up to the first one that grpc-js can use. */
function evaluate(config: BalancingPolicies): Evaluation {
  if (config.length === 0) return { unusable: describeValue(config) };
  const received: string[] = [];
  for (const policy of config) {
    const internal = Object.keys(policy).find(isObservingPolicy);
    // grpc-js would use the internal policy even if the list contains another policy.
    if (internal !== undefined) return { unusable: withReason(internal, 'internal to this library') };
    const evaluation = evaluatePolicy(policy);
    if (evaluation.unusable === undefined) return evaluation;
    received.push(evaluation.unusable);
  }
  const more = received.length - MAX_POLICIES;
  const shown = [...received.slice(0, MAX_POLICIES), ...(more > 0 ? [`and ${String(more)} more`] : [])];
  return { unusable: shown.join(', ') };
}

/** Evaluates one policy. The description contains a reason if grpc-js supports policies of this name. */
function evaluatePolicy(policy: BalancingPolicies[number]): Evaluation {
  const { parseLoadBalancingConfig: parse } = experimental;
  const [name, ...others] = Object.keys(policy);
  const outliers = readOutlierDetection(policy);
  if (parse === undefined) return outliers?.ok === true ? evaluate(outliers.childPolicy) : { name };
  if (name === undefined || others.length > 0) return { unusable: `${describeValue(policy)} (expected one key)` };
  if (outliers?.ok === false) return { unusable: withReason(name, outliers.problem) };
  if (outliers !== undefined) return evaluateOutlierDetection(name, outliers.childPolicy);
  const isRegistered = isPolicyRegistered(name);
  try {
    if (name === LEAST_REQUEST_POLICY_NAME && isRegistered !== true) parseChoiceCount(policy[name]);
    else if (isRegistered === false) return { unusable: policyText(name) };
    // Safe: `parse` throws if the value has another shape.
    else parse(policy as Parameters<typeof parse>[0]);
    return { name };
  } catch (error) {
    return { unusable: withReason(name, errorMessage(error)) };
  }
}

function evaluateOutlierDetection(name: string, childPolicy: BalancingPolicies): Evaluation {
  // Evaluated once, because each further evaluation would double the work per level of nested policies.
  const child = evaluate(childPolicy);
  if (child.unusable !== undefined) return { unusable: withReason(name, `childPolicy: ${child.unusable}`) };
  if (child.name === 'pick_first')
    return { unusable: withReason(name, 'has no effect on pick_first, which uses one endpoint') };
  return child;
}

/** Returns 'name (reason)', without the name at the start of the reason. */
function withReason(name: string, reason: string): string {
  const rest = reason.startsWith(name) ? reason.slice(name.length).replace(/^(: |\.)/, '') : reason;
  return `${policyText(name)} (${escapeControls(truncate(rest, MAX_REASON_LENGTH))})`;
}

function policyText(name: string): string {
  return name === '' ? "''" : escapeControls(truncate(name));
}

/** True if `value` can be passed to a channel. grpc-js accepts only its own class. */
export function isChannelCredentials(value: unknown): value is ChannelCredentials {
  return value instanceof ChannelCredentials;
}

export function insecureCredentials(): ChannelCredentials {
  return credentials.createInsecure();
}

/** True if connections with `value` use TLS. */
export function isSecure(value: ChannelCredentials): boolean {
  // Safe: the constructor of an object is its class, which grpc-js does not export.
  return !(value instanceof (insecureCredentials().constructor as new () => object));
}

/** Returns 'host:port', 'host', or '[::1]:port' of a target with one address or host; `undefined` for any other target. */
function addressOf(url: string): string | undefined {
  const match = /^(?:dns:(?:\/\/[^/]*\/)?)?([^/]+)$/.exec(url);
  const address = match?.[1];
  if (address === undefined || /^(unix|xds|ipv4|ipv6|google-c2p):/.test(address)) return undefined;
  return hasCustomResolver(url) ? undefined : address;
}

/** Returns the addresses in `url` for which gRPC has a default port: those of an `ipv4:` or `ipv6:` list, or a name or address for DNS. */
function addressesOf(url: string): readonly string[] {
  const list = IP_TARGET.exec(url)?.[2];
  if (list !== undefined) return list.split(',');
  const address = addressOf(url);
  return address === undefined ? [] : [address];
}

function portOf(address: string): string | undefined {
  const bracketed = /^\[[^\]]*\](?::(.*))?$/.exec(address);
  if (bracketed !== null) return bracketed[1];
  const parts = address.split(':');
  return parts.length === 2 ? parts[1] : undefined;
}
