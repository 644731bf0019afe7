import * as v from 'valibot';
import { GrpcConfigurationError, type ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { describeSecret, describeValue, pathOf, problemMessage } from './describe-value.js';
import { UNKNOWN_OPTION } from './option-schemas.js';

const SECRET_PATH = /\.(?:tls(?!\.(?:serverName|reload))|credentials|metadata)\b|http_connect_creds/;

/** Options that satisfy their schema, or the problems of invalid options. */
export type ParsedOptions<T> =
  | { readonly ok: true; readonly options: T }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/**
 * Parses `value`, with the defaults of `schema` applied. The problems of an invalid value are listed with unknown options first.
 *
 * @param path path of the value in the reported problems, such as 'clients.orders.serviceConfig'
 * @param rules returns further problems, which are listed after those of the schema
 */
export function parseOptions<S extends v.GenericSchema>(
  schema: S,
  value: unknown,
  path: string,
  rules: () => readonly ConfigurationProblem[] = () => [],
): ParsedOptions<v.InferOutput<S>> {
  const { success, output, issues = [] } = v.safeParse(schema, value);
  const isUnknown = ({ message }: v.BaseIssue<unknown>) => message.startsWith(UNKNOWN_OPTION);
  const found = [...issues.filter(isUnknown), ...issues.filter((issue) => !isUnknown(issue)), ...rules()];
  if (success && found.length === 0) return { ok: true, options: output };
  return { ok: false, problems: found.map((entry) => ('kind' in entry ? problemOf(entry, path) : entry)) };
}

/** Validates `value` against `schema`, and returns its problems as `parseOptions()` lists them. */
export function optionProblems(schema: v.GenericSchema, value: unknown, path: string): ConfigurationProblem[] {
  const parsed = parseOptions(schema, value, path);
  return parsed.ok ? [] : [...parsed.problems];
}

/** Parses `value`, with the defaults of `schema` applied. @throws GrpcConfigurationError if the value is invalid */
export function requireOptions<S extends v.GenericSchema>(schema: S, value: unknown, path: string): v.InferOutput<S> {
  const parsed = parseOptions(schema, value, path);
  if (!parsed.ok) throw new GrpcConfigurationError(parsed.problems);
  return parsed.options;
}

function problemOf(issue: v.BaseIssue<unknown>, root: string): ConfigurationProblem {
  const keys = issue.path?.map(({ key }) => (typeof key === 'number' ? key : String(key))) ?? [];
  const path = keys.reduce<string>(pathOf, root);
  // The message of a rule is used unchanged, because it is already complete.
  if (issue.type === 'raw_check') return { path, message: issue.message };
  const describe = SECRET_PATH.test(path) ? describeSecret : describeValue;
  return { path, message: problemMessage(expectedBy(issue), issue.input, undefined, describe) };
}

/** Returns the message that the schema gives, or valibot's description of the expected value. */
function expectedBy({ message, expected, type }: v.BaseIssue<unknown>): string {
  if (!message.startsWith('Invalid ')) return message;
  return type === 'loose_object' ? 'a value' : (expected ?? type);
}
