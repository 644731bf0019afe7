import { request as httpRequest, type IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { errorMessage } from '../../errors/error-message.js';
import type { DashboardSnapshot } from '../../dashboard/dashboard-feed.js';
import { duration, oneLine } from '../../telemetry/log/log-text.js';
import { connectFailureKind } from '../../policy/connect-failure/connect-failure-kind.js';
import type { ConnectFailureKind } from '../../policy/connect-failure/connect-failures.js';
import type { Finding } from '../check-result.js';
import { TimeLimit } from '../time-limit.js';

/** Maximum time in milliseconds to connect, and maximum time in milliseconds without data on the connection. */
const TIMEOUT_MS = 5_000;
/** Maximum duration of a request in milliseconds, from connecting to the end of the response. */
const REQUEST_TIMEOUT_MS = 15_000;
/** Maximum size of a snapshot in bytes. A snapshot of 1,000 clients, each with 100 methods, is smaller. */
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
export async function readSnapshot(
  { url, headers }: Dashboard,
  requestTimeoutMs = REQUEST_TIMEOUT_MS,
): Promise<SnapshotRead> {
  const failed = (message: string, remedy: string): SnapshotRead => ({
    ok: false,
    finding: [`${url.href} ${message}`, remedy],
  });
  let response: IncomingMessage;
  let body: string | undefined;
  const limit = new TimeLimit(requestTimeoutMs);
  try {
    response = await get(snapshotUrl(url), headers, limit.signal);
    if (response.statusCode === 101) return failed('is not a dashboard (101)', WRONG_PATH);
    body = await textOf(response);
    // Throws if the request was aborted, because a body without a length then ends without an error.
    limit.signal.throwIfAborted();
  } catch (error) {
    if (limit.signal.aborted) {
      return failed(`does not send a complete response within ${duration(requestTimeoutMs)}`, SLOW);
    }
    const cause = oneLine(causeOf(error));
    return UNTRUSTED.has(kindOf(error))
      ? failed(`sends a certificate that the doctor does not trust: ${cause}`, EXTRA_CA)
      : failed(`is unreachable: ${cause}`, UNREACHABLE);
  } finally {
    limit.clear();
  }
  if (body === undefined)
    return failed(`sends more than ${String(MAX_BYTES)} bytes, the limit for a snapshot`, WRONG_PATH);
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
const SLOW = 'check the URL, and whether the application or a proxy in front of it is overloaded';
const EXTRA_CA = 'set NODE_EXTRA_CA_CERTS to the file of the certificate authority that issued the certificate';
const CREDENTIALS = "pass the header that the dashboard's guard requires, such as --header 'authorization: Bearer …'";
const WRONG_PATH =
  'write the URL of the dashboard page, including the global prefix if the application has one, such as http://127.0.0.1:3000/grpc';

/** Kinds of failures for which `EXTRA_CA` is the remedy. */
const UNTRUSTED: ReadonlySet<ConnectFailureKind> = new Set(['certificate-untrusted', 'certificate-self-signed']);

function snapshotUrl({ origin, pathname }: URL): URL {
  return new URL(`${origin}${pathname.replace(/\/+$/, '')}/snapshot`);
}

function get(url: URL, headers: Dashboard['headers'], signal: AbortSignal): Promise<IncomingMessage> {
  const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise((resolve, reject) => {
    const request = send(url, {
      headers: { accept: 'application/json', ...headers },
      agent: false,
      timeout: TIMEOUT_MS,
      signal,
    });
    request.on('timeout', () => request.destroy(new Error(`no response within ${duration(TIMEOUT_MS)}`)));
    // Without this listener, Node closes the connection but emits neither 'response' nor 'error', so the promise would never settle.
    request.on('upgrade', (response, socket) => {
      socket.destroy();
      resolve(response);
    });
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

/** Returns the snapshot in `body`, of any version; `undefined` if `body` is not a snapshot. */
function parse(body: string): { readonly version: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(body);
    const isSnapshot = typeof value === 'object' && value !== null && 'version' in value && 'clients' in value;
    return isSnapshot && Array.isArray(value.clients) ? value : undefined;
  } catch {
    return undefined;
  }
}

function kindOf(error: unknown): ConnectFailureKind {
  const { code } = error as NodeJS.ErrnoException;
  return connectFailureKind({ phase: 'tls', code, isSecure: true, receivedBytes: 0 });
}

/**
 * Returns the message of an error, or the joined messages of an AggregateError. If several addresses fail, Node reports an AggregateError
 * without its own message.
 */
function causeOf(error: unknown): string {
  return error instanceof AggregateError ? error.errors.map(errorMessage).join(', ') : errorMessage(error);
}
