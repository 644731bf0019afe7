import { checkBounds, checkLength } from './document-bounds.js';
import { at, Problems, type Problem } from './problem.js';
import { checkKeys, isPresent, readInteger, readList, readObject, type Unread } from './read.js';

/** Client for which a service config is chosen. */
export interface ChoosingClient {
  /** Host name of the machine, as the operating system reports it. */
  readonly hostname: string;
  /** Number in [0, 100). Drawn once per client, so that a refresh does not move the client to another choice. */
  readonly percentile: number;
}

/** Service config chosen for a client (`undefined` if no choice matches), or the problems found in the list of choices. */
export type ServiceConfigChoice =
  | { readonly ok: true; readonly serviceConfig: unknown; readonly path: string }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Value of `clientLanguage` that matches this client; the same as in grpc-js. */
const CLIENT_LANGUAGE = 'node';

const ATTRIBUTE = 'grpc_config=';
const KEYS = ['clientLanguage', 'percentage', 'clientHostname', 'serviceConfig'];

/**
 * Returns the value of the first `grpc_config` attribute in TXT records, or `undefined` if there is none. Each record is a list of
 * strings to join. Other gRPC implementations use the first attribute, too.
 */
export function serviceConfigAttribute(records: readonly (readonly string[])[]): string | undefined {
  return records
    .map((strings) => strings.join(''))
    .find((record) => record.startsWith(ATTRIBUTE))
    ?.slice(ATTRIBUTE.length);
}

/**
 * Chooses the service config of one client from a JSON list of choices. The first match wins
 * (https://github.com/grpc/proposal/blob/master/A2-service-configs-in-dns.md#canarying-changes). One invalid choice rejects the
 * whole list. The contents of the service configs are not validated here: a choice for clients in another language may use keys
 * that only those clients support. The caller validates the chosen one.
 */
export function chooseServiceConfig(text: string, path: string, client: ChoosingClient): ServiceConfigChoice {
  const problems = new Problems();
  const choices = readChoices(text, path, problems);
  if (!problems.none) return { ok: false, problems: problems.list };
  const index = choices.findIndex((choice) => matches(choice, client));
  return { ok: true, serviceConfig: choices[index]?.['serviceConfig'], path: at(at(path, index), 'serviceConfig') };
}

function readChoices(text: string, path: string, problems: Problems): readonly Unread[] {
  let json: unknown;
  if (!checkLength(text, path, problems)) return [];
  try {
    json = JSON.parse(text);
  } catch (error) {
    problems.add(path, `a list of service config choices as JSON (${String(error)})`, text);
    return [];
  }
  checkBounds(json, path, problems);
  if (!problems.none) return [];
  const list = readList(json, path, problems, 'a list of service config choices');
  return (list ?? []).flatMap((entry, index) => {
    const where = at(path, index);
    const choice = readObject(entry, where, problems, 'a service config choice as an object');
    if (!choice) return [];
    checkKeys(choice, where, problems, KEYS);
    readNames(choice['clientLanguage'], at(where, 'clientLanguage'), problems);
    readNames(choice['clientHostname'], at(where, 'clientHostname'), problems);
    if (isPresent(choice['percentage'])) {
      readInteger(choice['percentage'], at(where, 'percentage'), problems, 0, 100);
    }
    readObject(choice['serviceConfig'], at(where, 'serviceConfig'), problems, 'a service config as an object');
    return [choice];
  });
}

function readNames(value: unknown, path: string, problems: Problems): void {
  if (!isPresent(value)) return;
  for (const [index, name] of (readList(value, path, problems, 'a list of names') ?? []).entries()) {
    if (typeof name !== 'string') problems.add(at(path, index), 'a string', name);
  }
}

/** True if the client satisfies every condition of the choice. An absent or empty condition matches all clients. */
function matches(choice: Unread, { hostname, percentile }: ChoosingClient): boolean {
  const { percentage } = choice;
  if (typeof percentage === 'number' && percentile >= percentage) return false;
  const languages = namesOf(choice['clientLanguage']);
  if (languages.length > 0 && !languages.some((name) => name.toLowerCase() === CLIENT_LANGUAGE)) return false;
  const hostnames = namesOf(choice['clientHostname']);
  return hostnames.length === 0 || hostnames.includes(hostname);
}

function namesOf(value: unknown): readonly string[] {
  // The cast is safe: `readNames` has checked the entries.
  return isPresent(value) ? (value as readonly string[]) : [];
}
