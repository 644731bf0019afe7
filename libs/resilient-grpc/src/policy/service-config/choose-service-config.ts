import * as v from 'valibot';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { pathOf } from '../options/describe-value.js';
import { parseOptions } from '../options/option-problems.js';
import { integer, jsonObject, openObject } from '../options/option-schemas.js';
import { readDocument } from './parse-service-config.js';

export interface ChoosingClient {
  /** Host name of the machine, as the operating system reports it. */
  readonly hostname: string;
  /** Number in [0, 100). Drawn once per client, so that a refresh does not move the client to a different choice. */
  readonly percentile: number;
}

/** Service config chosen for a client (`undefined` if no choice matches), or the problems found in the list of choices. */
export type ServiceConfigChoice =
  | { readonly ok: true; readonly serviceConfig: unknown; readonly path: string }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/** Value of `clientLanguage` that matches this client; the same as in grpc-js. */
const CLIENT_LANGUAGE = 'node';

const ATTRIBUTE = 'grpc_config=';
const names = v.optional(v.array(v.string()), []);
const choicesSchema = v.array(
  jsonObject({
    clientLanguage: names,
    clientHostname: names,
    percentage: v.optional(integer(0, 100), 100),
    serviceConfig: openObject({}),
  }),
);

/**
 * Returns the value of the first `grpc_config` attribute in TXT records, or `undefined` if they have none. Each record is a list of strings
 * to join. Other gRPC implementations also use the first attribute.
 */
export function serviceConfigAttribute(records: readonly (readonly string[])[]): string | undefined {
  return records
    .map((strings) => strings.join(''))
    .find((record) => record.startsWith(ATTRIBUTE))
    ?.slice(ATTRIBUTE.length);
}

/**
 * Chooses the service config of one client from a JSON list of choices. The first match wins
 * (https://github.com/grpc/proposal/blob/master/A2-service-configs-in-dns.md#canarying-changes). If one choice is invalid, the whole list
 * is rejected. The contents of the service configs are not validated here, because a choice for clients in another language may use keys
 * that only those clients support. The caller validates the chosen service config.
 */
export function chooseServiceConfig(text: string, path: string, client: ChoosingClient): ServiceConfigChoice {
  const read = readDocument(text, path, 'a list of service config choices as JSON');
  if (!read.ok) return read;
  const parsed = parseOptions(choicesSchema, read.options, path);
  if (!parsed.ok) return parsed;
  const index = parsed.options.findIndex((choice) => matches(choice, client));
  const serviceConfig: unknown = parsed.options[index]?.serviceConfig;
  return { ok: true, serviceConfig, path: pathOf(pathOf(path, index), 'serviceConfig') };
}

/** True if the client satisfies every condition of the choice. An absent or empty condition matches all clients. */
function matches(
  choice: v.InferOutput<typeof choicesSchema>[number],
  { hostname, percentile }: ChoosingClient,
): boolean {
  const { clientLanguage, clientHostname, percentage } = choice;
  if (percentile >= percentage) return false;
  if (clientLanguage.length > 0 && !clientLanguage.some((name) => name.toLowerCase() === CLIENT_LANGUAGE)) return false;
  return clientHostname.length === 0 || clientHostname.includes(hostname);
}
