import { validateHeaderName, validateHeaderValue } from 'node:http';
import type { ConfigurationProblem } from '../../errors/grpc-configuration-error.js';
import { describeValue } from '../../policy/options/describe-value.js';
import type { Dashboard } from './read-snapshot.js';

const EXAMPLE_URL = 'http://127.0.0.1:3000/grpc';

/** Parses the arguments of `doctor attach`, or reports their problems. */
export function readAttachArguments(
  urls: readonly string[],
  { header = [], ...others }: { readonly header?: readonly string[] | undefined } & Readonly<Record<string, unknown>>,
): { readonly dashboard: Dashboard } | { readonly problems: readonly ConfigurationProblem[] } {
  const problems: ConfigurationProblem[] = [];
  const add = (path: string, message: string) => problems.push({ path, message });
  const [text, ...more] = urls;
  if (more.length > 0) add('url', `expected one URL, got ${urls.map(describeValue).join(' and ')}`);
  const url = urlOf(text, add);
  const headers: Record<string, string> = {};
  for (const one of header) {
    const [, name, value] = /^([^:]+):\s*(.*)$/s.exec(one) ?? [];
    if (name === undefined || value === undefined || !isHeader(name, value)) {
      // Omits the value, because it may be a credential.
      add('--header', "expected a name, a colon, and a valid value, got other text (not shown); write 'x-key: sesame'");
    } else headers[name] = value;
  }
  for (const [name, value] of Object.entries(others)) {
    if (value === undefined || name === 'once') continue;
    const remedy = name === 'json' ? 'for JSON, request <url>/snapshot' : 'remove it';
    add(`--${name}`, `has no effect with attach; ${remedy}`);
  }
  return url === undefined || problems.length > 0 ? { problems } : { dashboard: { url, headers } };
}

function urlOf(text: string | undefined, add: (path: string, message: string) => void): URL | undefined {
  const url = text !== undefined && URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    const got = text === undefined ? 'nothing' : describeValue(text);
    add('url', `expected the URL of a dashboard, got ${got}; write it like ${EXAMPLE_URL}`);
    return undefined;
  }
  if (url.username !== '' || url.password !== '') {
    add('url', "expected no username or password in the URL; write --header 'authorization: Basic …'");
    return undefined;
  }
  return url;
}

function isHeader(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    return false;
  }
}
