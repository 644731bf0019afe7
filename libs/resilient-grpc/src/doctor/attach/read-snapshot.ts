import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { errorMessage } from '../../errors/error-message.js';
import type { DashboardSnapshot } from '../../dashboard/dashboard-feed.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import type { Finding } from '../check-result.js';

/** Maximum time to connect, and maximum time without data on the connection. */
const TIMEOUT_MS = 5_000;
/** Maximum size of a snapshot. A snapshot of 1,000 clients, each with 100 methods, is smaller. */
const MAX_BYTES = 64 * 1024 * 1024;

/** A dashboard to attach to. */
export interface Dashboard {
  /** URL of the page. */
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

/** A snapshot, or the finding that explains its absence. */
export type SnapshotRead =
  { readonly ok: true; readonly snapshot: DashboardSnapshot } | { readonly ok: false; readonly finding: Finding };

/** Requests the snapshot of a dashboard. */
export async function readSnapshot({ url, headers }: Dashboard): Promise<SnapshotRead> {
  const failed = (message: string, remedy: string): SnapshotRead => ({
    ok: false,
    finding: [`${url.href} ${message}`, remedy],
  });
  let response: IncomingMessage;
  let body: string | undefined;
  try {
    response = await get(snapshotUrl(url), headers);
    body = await textOf(response);
  } catch (error) {
    return failed(`is unreachable: ${oneLine(causeOf(error))}`, UNREACHABLE);
  }
  if (body === undefined)
    return failed(`sends more than ${String(MAX_BYTES)} bytes, the maximum of a snapshot`, WRONG_PATH);
  const { statusCode: status = 0 } = response;
  const { location, 'content-type': type = 'no content type' } = response.headers;
  if (status === 401 || status === 403) return failed(`requires credentials (${String(status)})`, CREDENTIALS);
  if (status === 404) return failed('is not a dashboard (404)', WRONG_PATH);
  if (status === 503) return failed('accepts no requests (503)', 'the application may be shutting down; try again');
  if (status >= 300 && status < 400) {
    return failed(`redirects to ${oneLine(location ?? 'another page')} (${String(status)})`, CREDENTIALS);
  }
  if (status !== 200) return failed(`responds with status ${String(status)}`, 'see the log of the application');
  const parsed = parse(body);
  if (parsed === undefined) return failed(`is not a dashboard: it responds with ${oneLine(type)}`, WRONG_PATH);
  if (parsed.version !== 1) {
    return failed(
      `sends snapshots of version ${oneLine(String(parsed.version))}, but this doctor reads version 1`,
      'run the doctor from the same release as the application',
    );
  }
  return { ok: true, snapshot: parsed as DashboardSnapshot };
}

const UNREACHABLE = 'check the host and the port, and that the application is running';
const CREDENTIALS = "pass what its guard requires, such as --header 'authorization: Bearer …'";
const WRONG_PATH =
  'write the URL of the dashboard page, including the global prefix if the application has one, such as http://127.0.0.1:3000/grpc';

function snapshotUrl({ origin, pathname }: URL): URL {
  return new URL(`${origin}${pathname.replace(/\/+$/, '')}/snapshot`);
}

function get(url: URL, headers: Dashboard['headers']): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      headers: { accept: 'application/json', ...headers },
      agent: false,
      timeout: TIMEOUT_MS,
    });
    request.on('timeout', () => request.destroy(new Error(`no response within ${duration(TIMEOUT_MS)}`)));
    request.on('error', reject).on('response', resolve).end();
  });
}

/** Returns the body of `response`; `undefined` if it exceeds the maximum. */
async function textOf(response: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Returns the snapshot in `body`, of any version; `undefined` if `body` contains something else. */
function parse(body: string): { readonly version: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(body);
    const isSnapshot = typeof value === 'object' && value !== null && 'version' in value && 'clients' in value;
    return isSnapshot && Array.isArray(value.clients) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Returns the message of an error. Node reports several failed addresses as an error without a message. */
function causeOf(error: unknown): string {
  return error instanceof AggregateError ? error.errors.map(errorMessage).join(', ') : errorMessage(error);
}
