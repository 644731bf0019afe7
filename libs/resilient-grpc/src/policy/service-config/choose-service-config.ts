import { checkBounds, checkLength } from './document-bounds.js';
import { at, Problems, type Problem } from './problem.js';
import { checkKeys, isPresent, readInteger, readList, readObject, type Unread } from './read.js';

/** The client that chooses among service configs. */
export interface ChoosingClient {
  /** Name of the machine, as the system has it. */
  readonly hostname: string;
  /** From 0 up to, not including, 100. Drawn once for a client, so that a refresh does not move it to another choice. */
  readonly percentile: number;
}

/** The service config that a list of choices has for one client (undefined: none of them), or what is wrong with the list. */
export type ServiceConfigChoice =
  | { readonly ok: true; readonly serviceConfig: unknown; readonly path: string }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** What `clientLanguage` calls this client; grpc-js answers to the same. */
const CLIENT_LANGUAGE = 'node';

const ATTRIBUTE = 'grpc_config=';
const KEYS = ['clientLanguage', 'percentage', 'clientHostname', 'serviceConfig'];

/**
 * The value of `grpc_config` among TXT records, each a list of strings that belong together; undefined where there is none.
 * Of several the first counts, as everywhere in gRPC.
 */
export function serviceConfigAttribute(records: readonly (readonly string[])[]): string | undefined {
  return records
    .map((strings) => strings.join(''))
    .find((record) => record.startsWith(ATTRIBUTE))
    ?.slice(ATTRIBUTE.length);
}

/**
 * Chooses the service config of one client from a JSON list of choices: the first that matches wins
 * (https://github.com/grpc/proposal/blob/master/A2-service-configs-in-dns.md#canarying-changes). One choice that is wrong
 * discards them all. What stands inside the service configs is read by whoever takes the chosen one, so that a choice for
 * clients in another language may say what only they know.
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
    if (typeof name !== 'string') problems.add(at(path, index), 'a name as text', name);
  }
}

/** All that a choice says must hold; what is absent or empty holds for everybody. */
function matches(choice: Unread, { hostname, percentile }: ChoosingClient): boolean {
  const { percentage } = choice;
  if (typeof percentage === 'number' && percentile >= percentage) return false;
  const languages = namesOf(choice['clientLanguage']);
  if (languages.length > 0 && !languages.some((name) => name.toLowerCase() === CLIENT_LANGUAGE)) return false;
  const hostnames = namesOf(choice['clientHostname']);
  return hostnames.length === 0 || hostnames.includes(hostname);
}

function namesOf(value: unknown): readonly string[] {
  // True: `readNames` has found nothing else in it.
  return isPresent(value) ? (value as readonly string[]) : [];
}
