import { errorMessage } from '../errors/error-message.js';
import { checkSlice, type EndpointSlice } from '../policy/kubernetes/select-endpoints.js';
import { oneLine } from '../telemetry/log/log-text.js';
import { ApiServerError, type ApiServer } from './api-server.js';

export interface ServiceName {
  readonly service: string;
  readonly namespace: string;
}

export interface SliceList {
  readonly metadata?: { readonly resourceVersion?: string };
  /** `null` or absent if the service has no slices. */
  readonly items?: readonly EndpointSlice[] | null;
}

export interface RequestFailure {
  readonly message: string;
  /** Remedy for a missing permission, with a command; absent for other failures. */
  readonly remedy?: string;
}

const FORBIDDEN = 403;

export function slicesPath({ service, namespace }: ServiceName, parameters: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams({ labelSelector: `kubernetes.io/service-name=${service}`, ...parameters });
  return `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?${query.toString()}`;
}

export function requestFailure(error: unknown, server: Pick<ApiServer, 'url'>, namespace: string): RequestFailure {
  // The AggregateError for a host with several addresses has no message, so its code is used.
  const text = oneLine(errorMessage(error)) || String((error as { readonly code?: unknown }).code);
  const message = `cannot watch EndpointSlices at ${server.url}: ${text}`;
  return error instanceof ApiServerError && error.status === FORBIDDEN
    ? { message, remedy: permissionRemedy(error.message, namespace) }
    : { message };
}

/**
 * Checks both permissions that a watch needs: lists a service's EndpointSlices, then opens a watch and closes it immediately.
 * @throws ApiServerError if the API server rejects a request
 * @throws TypeError if a slice is malformed
 */
export async function inspectSlices(
  server: ApiServer,
  name: ServiceName,
  signal: AbortSignal,
): Promise<readonly EndpointSlice[]> {
  const { metadata, items } = (await server.get(slicesPath(name, {}), signal)) as SliceList;
  const { resourceVersion = '' } = metadata ?? {};
  // The API server ends the watch within one second.
  const path = slicesPath(name, { watch: 'true', resourceVersion, timeoutSeconds: '1' });
  const opened = new AbortController();
  const end = (): void => {
    opened.abort();
  };
  await server.watch(path, AbortSignal.any([signal, opened.signal]), 1_000, end, end).catch((error: unknown) => {
    if (!opened.signal.aborted) throw error;
  });
  return (items ?? []).map(checkSlice);
}

/**
 * Returns a remedy with a command that grants the permissions to list and watch EndpointSlices. `message` is the API server's error message
 * and names the user: 'endpointslices.discovery.k8s.io is forbidden: User "system:serviceaccount:shop:gateway" cannot list resource …'.
 */
export function permissionRemedy(message: string, namespace: string): string {
  const user = /User "([^"]+)"/.exec(message)?.[1] ?? 'system:serviceaccount:default:default';
  const [, account] = /^system:serviceaccount:([^:]+:[^:]+)$/.exec(user) ?? [];
  const subject = account === undefined ? `--user='${user.replaceAll("'", `'\\''`)}'` : `--serviceaccount=${account}`;
  const create = (what: string, options: string) => `kubectl create ${what} grpc-endpoints -n ${namespace} ${options}`;
  const role = create('role', '--verb=list,watch --resource=endpointslices.discovery.k8s.io');
  return `grant the permission: ${role} && ${create('rolebinding', `--role=grpc-endpoints ${subject}`)}`;
}
