import * as v from 'valibot';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { closest } from '../../errors/closest.js';
import { describeSecret, describeValue, pathOf } from './describe-value.js';

/** Remedies by unknown key, for keys that are more than a typo. */
export type KeyRemedies = Readonly<Record<string, string>>;

const SECRET = /\.(?:tls(?!\.(?:serverName|reload))|credentials|metadata)\b|http_connect_creds/;

/** Returns all problems of `value` against `schema`: unknown keys first, then invalid values, each with a remedy. */
export function optionProblems(
  schema: v.GenericSchema,
  value: unknown,
  path: string,
  remedies: KeyRemedies = {},
): ConfigurationProblem[] {
  const problems = unknownKeys(schema, value, path, remedies);
  for (const issue of v.safeParse(schema, withRequiredKeys(schema, value)).issues ?? []) {
    const at = (issue.path ?? []).reduce((before, item) => pathOf(before, keyOf(item.key)), path);
    const found = SECRET.test(at) ? describeSecret(issue.input) : describeValue(issue.input);
    problems.push({
      path: at,
      message: `expected ${issue.message}, got ${found}${remedyFor(issue.expected ?? '', issue.input)}`,
    });
  }
  return problems;
}

/** Returns the problems of keys that are not in the schema, at any depth. */
function unknownKeys(
  schema: v.GenericSchema,
  value: unknown,
  path: string,
  remedies: KeyRemedies,
): ConfigurationProblem[] {
  if (typeof value !== 'object' || value === null) return [];
  const inner = unwrap(schema);
  if ('entries' in inner) {
    // A schema with entries is an object schema.
    const entries = inner.entries as Readonly<Record<string, v.GenericSchema>>;
    return Object.keys(value).flatMap((key) => {
      const entry = Object.hasOwn(entries, key) ? entries[key] : undefined;
      const found: unknown = Reflect.get(value, key);
      if (entry !== undefined) return unknownKeys(entry, found, pathOf(path, key), {});
      return [{ path: pathOf(path, key), message: unknownKeyMessage(key, Object.keys(entries), remedies) }];
    });
  }
  if (inner.type === 'record' && 'value' in inner) {
    const each = inner.value as v.GenericSchema;
    return Object.entries(value).flatMap(([key, found]) => unknownKeys(each, found, pathOf(path, key), {}));
  }
  return [];
}

function unknownKeyMessage(key: string, known: readonly string[], remedies: KeyRemedies): string {
  const remedy = Object.hasOwn(remedies, key) ? remedies[key] : undefined;
  if (remedy !== undefined) return `unknown key; ${remedy}`;
  const meant = closest(key, known);
  return meant === undefined ? `unknown key; known keys: ${known.join(', ')}` : `unknown key; did you mean '${meant}'?`;
}

/** Adds missing required keys as `undefined`, because valibot does not name a missing key in its message. */
function withRequiredKeys(schema: v.GenericSchema, value: unknown): unknown {
  const inner = unwrap(schema);
  if (!('entries' in inner) || typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const missing = Object.entries(inner.entries as Readonly<Record<string, v.GenericSchema>>)
    .filter(([key, entry]) => entry.type !== 'optional' && !(key in value))
    .map(([key]) => [key, undefined] as const);
  return missing.length === 0 ? value : { ...value, ...Object.fromEntries(missing) };
}

function unwrap(schema: v.GenericSchema): v.GenericSchema {
  return schema.type === 'optional' && 'wrapped' in schema ? unwrap(schema.wrapped as v.GenericSchema) : schema;
}

function remedyFor(expected: string, input: unknown): string {
  if (input === null) return '; omit it or write undefined';
  if (typeof input !== 'string') return '';
  if (expected === 'number') {
    const match = /^\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h)?\s*$/i.exec(input);
    if (match?.[1] === undefined) return '';
    const unit = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[match[2]?.toLowerCase() ?? 'ms'] ?? 1;
    return `; write ${String(Number(match[1]) * unit)}`;
  }
  if (expected === 'boolean' && /^(true|false)$/i.test(input)) return `; write ${input.toLowerCase()} without quotes`;
  return '';
}

function keyOf(key: unknown): string | number {
  return typeof key === 'number' ? key : String(key);
}
