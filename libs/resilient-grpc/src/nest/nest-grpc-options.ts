import type { Transport } from '@nestjs/microservices';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { pathOf, problemMessage } from '../policy/options/describe-value.js';

// The value is copied, because an import of the enum would load `@nestjs/microservices`, which not every application needs.
const GRPC: Transport.GRPC = 4;
/** Target of Nest's client if its `options` has no `url`; a copy of Nest's `GRPC_DEFAULT_URL`, for the same reason. */
const DEFAULT_URL = 'localhost:5000';

interface Flattened {
  readonly options: Readonly<Record<string, unknown>>;
  /** True if the options were nested in `options`. */
  readonly isNested: boolean;
  readonly problems: readonly ConfigurationProblem[];
}

/**
 * Moves the keys of the nested `options` in Nest's `{ transport, options: { … } }` to the top level, and removes Nest's `transport`. Other
 * keys, such as this library's own `transport`, are returned unchanged.
 *
 * @param given options that were copied to plain data
 * @param path path of the options in the reported problems
 */
export function flattenNestOptions(given: object, path: string): Flattened {
  const { transport, options, ...others } = given as Readonly<Record<string, unknown>>;
  const problems: ConfigurationProblem[] = [];
  const isNests = typeof transport !== 'string';
  const own = isNests ? others : { ...others, transport };
  if (isNests && transport !== undefined && transport !== GRPC) {
    const message = problemMessage('Transport.GRPC', transport);
    problems.push({ path: pathOf(path, 'transport'), message });
  }
  if (options === undefined) return { options: own, isNested: false, problems };
  const nested = pathOf(path, 'options');
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    const message = problemMessage("Nest's gRPC options such as { url, package, protoPath }", options);
    problems.push({ path: nested, message });
    return { options: own, isNested: false, problems };
  }
  for (const key of Object.keys(options).filter((one) => own[one] !== undefined))
    problems.push({ path: pathOf(nested, key), message: 'also given outside of `options`' });
  // A key outside of `options` whose value is undefined counts as absent, so the nested value applies.
  return { options: { ...own, ...options }, isNested: true, problems };
}

/** Adds Nest's default `url` to nested client options whose `url` is missing or empty, as Nest's client does. */
export function withDefaultUrl({ options, isNested }: Flattened): Readonly<Record<string, unknown>> {
  return isNested && !options['url'] ? { ...options, url: DEFAULT_URL } : options;
}

/** Nest options that only a server uses, or that grpc-js ignores on clients. They have no effect on Nest's client, either. */
const IGNORED_BY_CLIENTS: readonly string[] = ['gracefulShutdown', 'onLoadPackageDefinition', 'maxMetadataSize'];
const IGNORED_KEEPALIVE =
  /^http2(?:MaxPingsWithoutData|MinTimeBetweenPingsMs|MinPingIntervalWithoutDataMs|MaxPingStrikes)$/;
const DEFAULT_LOADER = '@grpc/proto-loader';

/** Removes the options of Nest's type that have no effect on Nest's client, so that a client and a server can share their options. */
export function withoutServerOptions(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const used = Object.entries(options).filter(
    ([key, value]) => !IGNORED_BY_CLIENTS.includes(key) && !(key === 'protoLoader' && value === DEFAULT_LOADER),
  );
  return Object.fromEntries(used.map(([key, value]) => [key, key === 'keepalive' ? usedPings(value) : value]));
}

function usedPings(keepalive: unknown): unknown {
  if (typeof keepalive !== 'object' || keepalive === null || Array.isArray(keepalive)) return keepalive;
  return Object.fromEntries(Object.entries(keepalive).filter(([key]) => !IGNORED_KEEPALIVE.test(key)));
}
