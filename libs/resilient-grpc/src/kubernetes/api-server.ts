import { request as requestHttp, type IncomingMessage, type OutgoingHttpHeaders } from 'node:http';
import { request as requestHttps, type RequestOptions } from 'node:https';
import { text } from 'node:stream/consumers';
import { KubeConfig } from '@kubernetes/client-node';
import { errorMessage } from '../errors/error-message.js';
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import type { EndpointSlice } from '../policy/kubernetes/select-endpoints.js';
import { duration, oneLine } from '../telemetry/log/log-text.js';
import * as v from 'valibot';
import { object } from '../policy/options/option-schemas.js';

/** Options of `registerKubernetesResolver`. */
export interface KubernetesResolverOptions {
  /**
   * Path of a kubeconfig file.
   * @defaultValue the files that `KUBECONFIG` lists, or else `~/.kube/config`, or else the service account of the pod
   */
  readonly kubeconfig?: string | undefined;
}

export const kubernetesOptionsSchema = object({ kubeconfig: v.optional(v.pipe(v.string(), v.nonEmpty())) });

/** Maximum time in milliseconds without a byte from the API server. The limit applies to a watch only until the response headers arrive. */
const SILENT_REQUEST_MS = 10_000;
/** Idle time in milliseconds before the kernel sends TCP keepalive probes, which detect a lost connection of a watch in about 40 s. */
const TCP_KEEPALIVE_MS = 30_000;
const OK = 200;
const UNAUTHORIZED = 401;
const FORBIDDEN = 403;

/** Error for a response from the API server with a status other than 200, or for an `ERROR` event of a watch. */
export class ApiServerError extends Error {
  override readonly name = 'ApiServerError';

  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/**
 * The API server that the Kubernetes configuration names. Credentials are applied to each request. The client library reads the token file
 * of a pod at most once a minute, so the whole configuration is read again after a 401.
 */
export class ApiServer {
  private config: KubeConfig;
  /** Namespace from the options, or else that of the pod or of the context, or else 'default'. */
  readonly namespace: string;
  readonly url: string;

  /** @throws GrpcConfigurationError if there is no usable configuration */
  constructor(private readonly options: KubernetesResolverOptions) {
    this.config = loadConfig(options);
    this.url = serverOf(this.config);
    // Trimmed, because the file with the pod's namespace may end with a line break.
    const own = this.config.getContextObject(this.config.getCurrentContext())?.namespace?.trim();
    this.namespace = own || 'default';
  }

  /** Text that identifies the configuration: the configuration itself, including its credentials. */
  get identity(): string {
    return this.config.exportConfig();
  }

  /** Reads the configuration again. The previous configuration stays in use if the read fails. */
  private reload(): void {
    try {
      this.config = loadConfig(this.options);
    } catch {
      // The file may be missing or incomplete while it is being replaced. The next 401 triggers another read.
    }
  }

  async get(path: string, signal: AbortSignal): Promise<unknown> {
    return JSON.parse(await textOf(await this.open(path, signal))) as unknown;
  }

  /**
   * Opens a watch, and calls `onEvent` with each event until the watch ends. An open watch does not keep the process running.
   *
   * @param silentMs milliseconds without a received byte after which the watch ends
   * @throws ApiServerError if the API server rejects the request
   */
  async watch(
    path: string,
    signal: AbortSignal,
    silentMs: number,
    onOpen: () => void,
    onEvent: (event: unknown) => void,
  ): Promise<void> {
    const response = await this.open(path, signal);
    const silence = { isOver: false };
    response.setTimeout(silentMs, () => {
      silence.isOver = true;
      response.destroy();
    });
    response.socket.setKeepAlive(true, TCP_KEEPALIVE_MS);
    response.socket.unref();
    onOpen();
    let rest = '';
    try {
      for await (const chunk of response.setEncoding('utf8') as AsyncIterable<string>) {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) if (line !== '') onEvent(JSON.parse(line));
      }
    } catch (error) {
      if (!silence.isOver) throw error;
    }
  }

  private async open(path: string, signal: AbortSignal): Promise<IncomingMessage> {
    const headers: OutgoingHttpHeaders = { accept: 'application/json' };
    const options: RequestOptions = { headers };
    // Adds the certificate authority, the client certificate or the token, and the proxy.
    await this.config.applyToHTTPSOptions(options);
    // Removes a line break at the end of a token file, because Node rejects a line break in a header.
    if (typeof headers['Authorization'] === 'string') headers['Authorization'] = headers['Authorization'].trim();
    signal.throwIfAborted();
    // Appends `path`, because the URL may have its own path, for example if a proxy serves several clusters.
    const url = new URL(this.url.replace(/\/+$/, '') + path);
    const send = url.protocol === 'http:' ? requestHttp : requestHttps;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = send(url, { ...options, signal, timeout: SILENT_REQUEST_MS });
      const onTimeout = (): void => {
        request.destroy(new Error(`no response within ${duration(SILENT_REQUEST_MS)}`));
      };
      request.on('timeout', onTimeout);
      request.on('error', reject);
      request.on('response', (opened) => {
        request.off('timeout', onTimeout);
        resolve(opened);
      });
      request.end();
    });
    const { statusCode = 0 } = response;
    if (statusCode === OK) return response;
    if (statusCode === UNAUTHORIZED) this.reload();
    const message = messageOf(await textOf(response)) ?? response.statusMessage ?? '';
    throw new ApiServerError(statusCode, `${String(statusCode)} ${message}`);
  }
}

/** Server that the client library assumes if there is no configuration. */
const DEFAULT_SERVER = 'http://localhost:8080';

function loadConfig({ kubeconfig }: KubernetesResolverOptions): KubeConfig {
  const config = new KubeConfig();
  try {
    if (kubeconfig === undefined) config.loadFromDefault();
    else config.loadFromFile(kubeconfig);
  } catch (error) {
    const remedy = 'check the file that the option kubeconfig or KUBECONFIG names';
    throw wrong(`expected a readable kubeconfig, got an error: ${errorMessage(error)}; ${remedy}`);
  }
  return config;
}

function serverOf(config: KubeConfig): string {
  const cluster = config.getCurrentCluster();
  if (cluster === null || cluster.server === DEFAULT_SERVER)
    throw wrong(
      'expected a Kubernetes configuration with a current context, got none; run in a pod with a service account, or set KUBECONFIG',
    );
  return cluster.server;
}

function wrong(message: string): GrpcConfigurationError {
  return new GrpcConfigurationError([{ path: 'registerKubernetesResolver.kubeconfig', message }]);
}

function textOf(response: IncomingMessage): Promise<string> {
  response.setTimeout(SILENT_REQUEST_MS, () =>
    response.destroy(new Error(`the response stalled for ${duration(SILENT_REQUEST_MS)}`)),
  );
  return text(response);
}

function messageOf(body: string): string | undefined {
  try {
    const { message } = JSON.parse(body) as { readonly message?: unknown };
    return typeof message === 'string' ? message : undefined;
  } catch {
    return undefined;
  }
}

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

export function slicesPath({ service, namespace }: ServiceName, parameters: Readonly<Record<string, string>>): string {
  const query = new URLSearchParams({ labelSelector: `kubernetes.io/service-name=${service}`, ...parameters });
  return `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices?${query.toString()}`;
}

export function requestFailure(error: unknown, server: Pick<ApiServer, 'url'>, namespace: string): RequestFailure {
  // The AggregateError for a host with several addresses has no message, so its code is used.
  const cause = oneLine(errorMessage(error)) || String((error as { readonly code?: unknown }).code);
  const message = `cannot watch EndpointSlices at ${server.url}: ${cause}`;
  return error instanceof ApiServerError && error.status === FORBIDDEN
    ? { message, remedy: permissionRemedy(error.message, namespace) }
    : { message };
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
