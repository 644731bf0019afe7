import * as v from 'valibot';
import {
  GrpcConfigurationError,
  type ConfigurationProblem,
  type UnlistedProblems,
} from '../../errors/grpc-configuration-error.js';
import { describeSecret, describeValue, pathOf, problemMessage } from './describe-value.js';
import { isObject, isUnknownKey, messageOf } from './option-schemas.js';
import { numberRemedy, writtenNumber } from './value-rules.js';

/** Maximum number of listed problems. If there are more, an additional entry states how many are not listed. */
const MAX_PROBLEMS = 100;

const SECRET_PATH = /\.(?:tls(?!\.(?:serverName|reload))|credentials|metadata)\b|http_connect_creds/;

/** Options that satisfy their schema, or the problems of invalid options: the first 100, and the number of the others. */
export type ParsedOptions<T> =
  | { readonly ok: true; readonly options: T }
  | { readonly ok: false; readonly problems: readonly ConfigurationProblem[] };

/**
 * Parses `value`, with the defaults of `schema` applied.
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
  const found = [...issues.filter(isUnknownKey), ...issues.filter((issue) => !isUnknownKey(issue)), ...rules()];
  if (success && found.length === 0) return { ok: true, options: output };
  const listed = found.slice(0, MAX_PROBLEMS + 1);
  let rejected: ReadonlySet<string> | undefined;
  const isAccepted = (keys: readonly unknown[]) => {
    rejected ??= rejectedReplacements(
      schema,
      value,
      listed.filter((entry) => 'kind' in entry),
    );
    return !rejected.has(keys.join());
  };
  const problems = listed.map((entry) => ('kind' in entry ? problemOf(entry, path, isAccepted) : entry));
  const next = problems[MAX_PROBLEMS];
  if (next === undefined) return { ok: false, problems };
  const unlisted = found.length - MAX_PROBLEMS;
  const message = `problems not listed: ${String(unlisted)}; the first of them is at this path`;
  const more: UnlistedProblems = { path: next.path, message, unlisted };
  return { ok: false, problems: [...problems.slice(0, MAX_PROBLEMS), more] };
}

/**
 * Validates `value` against `schema` and returns its problems: unknown keys first, then invalid values, with a remedy if one is known.
 * If there are more than 100 problems, the last entry states the number of those that are not listed.
 */
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

/** @param isAccepted returns true if the schema accepts the replacement of the value at the given keys */
function problemOf(
  issue: v.BaseIssue<unknown>,
  root: string,
  isAccepted: (keys: readonly unknown[]) => boolean,
): ConfigurationProblem {
  const keys = keysOf(issue);
  const path = keys.reduce<string>((before, key) => pathOf(before, keyOf(key)), root);
  // The message of a rule is used unchanged, because it is already complete.
  if (issue.type === 'raw_check') return { path, message: messageOf(issue) };
  const [expected = '', ...remedies] = messageOf(issue).split('; ');
  const remedy = remedies.length > 0 ? remedies.join('; ') : remedyFor(issue, () => isAccepted(keys));
  const describe = SECRET_PATH.test(path) ? describeSecret : describeValue;
  return { path, message: problemMessage(expected, issue.input, remedy, describe) };
}

function remedyFor({ expected, input }: v.BaseIssue<unknown>, isAccepted: () => boolean): string | undefined {
  if (input === null) return isAccepted() ? 'omit it or write undefined' : undefined;
  if (expected === 'number') return numberRemedy(input, isAccepted);
  return expected === 'boolean' && typeof input === 'string' && /^(true|false)$/i.test(input)
    ? `write the boolean ${input.toLowerCase()}`
    : undefined;
}

function keysOf({ path }: v.BaseIssue<unknown>): unknown[] {
  return path?.map(({ key }) => key) ?? [];
}

/**
 * Parses `value` again, with a replacement for each value that has an issue: `undefined` for null, and the number for a number written as a
 * string. Returns the keys of each issue that it finds, joined by commas.
 */
function rejectedReplacements(
  schema: v.GenericSchema,
  value: unknown,
  issues: readonly v.BaseIssue<unknown>[],
): ReadonlySet<string> {
  const replaced = issues.reduce<unknown>((left, issue) => {
    const number = issue.expected === 'number' ? writtenNumber(issue.input) : undefined;
    return number === undefined && issue.input !== null ? left : withValue(left, keysOf(issue), number);
  }, value);
  return new Set(v.safeParse(schema, replaced).issues?.map((issue) => keysOf(issue).join()));
}

/** Returns a copy of `value` in which the value at `keys` is `replacement`. */
function withValue(value: unknown, keys: readonly unknown[], replacement: unknown): unknown {
  const [key, ...rest] = keys;
  if (keys.length === 0) return replacement;
  if (Array.isArray(value))
    return value.map((entry, index) => (index === key ? withValue(entry, rest, replacement) : (entry as unknown)));
  if (!isObject(value)) return undefined;
  return { ...value, [String(key)]: withValue(Reflect.get(value, String(key)), rest, replacement) };
}

function keyOf(key: unknown): string | number {
  return typeof key === 'number' ? key : String(key);
}
