import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import type { Endpoint, EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import { certificate } from '../support/orders-app.js';

const GROUP = 'discovery.k8s.io';
const API_VERSION = `${GROUP}/v1`;
const USER = 'system:serviceaccount:shop:gateway';

interface StoredEvent {
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED';
  readonly version: number;
  readonly object: EndpointSlice;
}

interface OpenWatch {
  readonly matches: (slice: EndpointSlice) => boolean;
  readonly response: ServerResponse;
  readonly allowsBookmarks: boolean;
}

/** A request for EndpointSlices that the stub received. */
export interface SliceRequest {
  readonly kind: 'list' | 'watch';
  readonly resourceVersion: string | null;
  readonly token: string | undefined;
}

/** Fault that the stub simulates when it receives a request for EndpointSlices. */
export type StubFault =
  /** Responds with 403, as if no Role permitted the request. */
  | 'forbidden'
  /** Accepts requests and never responds. */
  | 'silent'
  /** Responds to a list, and ends each watch immediately. */
  | 'short-watches';

/** A pod of a service in the stub. Each pod has an EndpointSlice of its own, because all endpoints of a slice have the same ports. */
export interface Pod {
  readonly service?: string;
  readonly name: string;
  /** @defaultValue '127.0.0.1' */
  readonly address?: string;
  readonly port: number;
  readonly ready?: boolean;
  readonly serving?: boolean;
  readonly terminating?: boolean;
}

/**
 * A Kubernetes API server that serves only EndpointSlices, over TLS. Requests require a bearer token or a client certificate. The stub
 * supports list, watch, resource versions, bookmarks, 401, 403, and 410 Gone.
 */
export class ApiServerStub {
  readonly requests: SliceRequest[] = [];
  fault: StubFault | undefined;
  /** The token that the stub accepts. */
  token = 'token-of-gateway';
  private server: Server | undefined;
  private port = 0;
  private readonly folder = mkdtempSync(join(tmpdir(), 'kubernetes-'));
  private readonly sockets = new Set<Socket>();
  private readonly watches = new Set<OpenWatch>();
  private readonly slices = new Map<string, EndpointSlice>();
  private version = 100;
  private events: StoredEvent[] = [];
  /** Events before this version are no longer available. */
  private compacted = 0;

  static async start(): Promise<ApiServerStub> {
    const stub = new ApiServerStub();
    await stub.start();
    return stub;
  }

  /** Starts listening. After `kill()`, the port is the same as before. */
  async start(): Promise<void> {
    const [cert, key] = ['server', 'server-key'].map((name) => readFileSync(certificate(name)));
    const ca = readFileSync(certificate('ca'));
    this.server = createServer({ cert, key, ca, requestCert: true, rejectUnauthorized: false }, (request, response) => {
      this.handle(request, response);
    });
    this.server.on('connection', (socket: Socket) => {
      this.sockets.add(socket);
      socket.on('close', () => this.sockets.delete(socket));
    });
    this.server.listen(this.port, '127.0.0.1');
    await once(this.server, 'listening');
    this.port = (this.server.address() as AddressInfo).port;
  }

  /** Stops like a killed process: all connections are reset. The objects remain. */
  async kill(): Promise<void> {
    const closed = new Promise((resolve) => this.server?.close(resolve));
    this.dropConnections();
    await closed;
  }

  async close(): Promise<void> {
    await this.kill();
    rmSync(this.folder, { recursive: true });
  }

  dropConnections(): void {
    for (const socket of this.sockets) socket.resetAndDestroy();
  }

  get url(): string {
    return `https://127.0.0.1:${String(this.port)}`;
  }

  get openWatches(): number {
    return this.watches.size;
  }

  /** Path of a kubeconfig for this server. Each access to this property writes the file with the current token. */
  get kubeconfig(): string {
    return this.writeKubeconfig();
  }

  writeKubeconfig(): string {
    return this.kubeconfigOf('kubeconfig', { token: this.token });
  }

  /** Path of a kubeconfig with a client certificate. */
  get kubeconfigWithCertificate(): string {
    const user = { 'client-certificate': certificate('client'), 'client-key': certificate('client-key') };
    return this.kubeconfigOf('kubeconfig-certificate', user);
  }

  /** Writes the files that the kubelet mounts for a service account, with the current token. Returns their folder. */
  writeServiceAccount(): string {
    const path = join(this.folder, 'serviceaccount');
    mkdirSync(path, { recursive: true });
    const files = { token: this.token, namespace: 'shop', 'ca.crt': readFileSync(certificate('ca')) };
    for (const [name, content] of Object.entries(files)) {
      // Like the kubelet, replaces the files instead of writing into them.
      writeFileSync(join(path, `${name}-new`), content);
      renameSync(join(path, `${name}-new`), join(path, name));
    }
    return path;
  }

  private kubeconfigOf(name: string, user: object): string {
    const path = join(this.folder, name);
    const config = {
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'stub',
      clusters: [{ name: 'stub', cluster: { server: this.url, 'certificate-authority': certificate('ca') } }],
      users: [{ name: 'gateway', user }],
      contexts: [{ name: 'stub', context: { cluster: 'stub', user: 'gateway', namespace: 'shop' } }],
    };
    writeFileSync(path, JSON.stringify(config));
    return path;
  }

  /** Adds or changes a pod. */
  set({
    service = 'orders',
    name,
    address = '127.0.0.1',
    port,
    ready = true,
    terminating = false,
    serving = ready,
  }: Pod): void {
    const endpoint: Endpoint = {
      addresses: [address],
      conditions: { ready: ready && !terminating, serving, terminating },
      targetRef: { kind: 'Pod', name, uid: `uid-${name}` },
    };
    this.put({
      apiVersion: API_VERSION,
      kind: 'EndpointSlice',
      metadata: {
        name: `${service}-${name}`,
        namespace: 'shop',
        labels: { 'kubernetes.io/service-name': service },
        creationTimestamp: new Date().toISOString(),
      },
      addressType: 'IPv4',
      endpoints: [endpoint],
      ports: [{ name: 'grpc', port, protocol: 'TCP' }],
    });
  }

  remove(name: string, service = 'orders'): void {
    const key = `${service}-${name}`;
    const object = this.slices.get(key);
    if (object === undefined) return;
    this.slices.delete(key);
    this.publish('DELETED', object);
  }

  put(slice: EndpointSlice): void {
    const key = slice.metadata?.name ?? '';
    const type = this.slices.has(key) ? 'MODIFIED' : 'ADDED';
    this.slices.set(key, this.publish(type, slice));
  }

  /** Sends a bookmark to each watch that requested bookmarks. Returns the resource version. */
  bookmark(): string {
    const resourceVersion = String(++this.version);
    const object = { apiVersion: API_VERSION, kind: 'EndpointSlice', metadata: { resourceVersion } };
    for (const { response, allowsBookmarks } of this.watches)
      if (allowsBookmarks) response.write(line({ type: 'BOOKMARK', object }));
    return resourceVersion;
  }

  /** Discards the events so far, so that a watch from an earlier version receives 410 Gone. */
  compact(): void {
    this.compacted = ++this.version;
    this.events = [];
  }

  /** Discards the events so far, and ends each watch with an ERROR event of 410 Gone. */
  expireWatches(): void {
    this.compact();
    for (const { response } of this.watches) response.end(line({ type: 'ERROR', object: expired(0, this.compacted) }));
  }

  /** Ends each watch, as an API server does after the `timeoutSeconds` of the watch. */
  endWatches(): void {
    for (const { response } of this.watches) response.end();
  }

  private publish(type: StoredEvent['type'], slice: EndpointSlice): EndpointSlice {
    this.version += 1;
    const object = { ...slice, metadata: { ...slice.metadata, resourceVersion: String(this.version) } };
    this.events.push({ type, version: this.version, object });
    for (const { matches, response } of this.watches) if (matches(object)) response.write(line({ type, object }));
    return object;
  }

  private handle(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', this.url);
    const { pathname, searchParams } = url;
    const [, namespace] = new RegExp(`^/apis/${API_VERSION}/namespaces/([^/]+)/endpointslices$`).exec(pathname) ?? [];
    if (namespace === undefined) {
      send(response, 404, status(404, 'NotFound', `the server could not find ${pathname}`));
      return;
    }
    const kind = ['1', 'true'].includes(searchParams.get('watch') ?? '') ? 'watch' : 'list';
    const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
    this.requests.push({ kind, resourceVersion: searchParams.get('resourceVersion'), token });
    if (token !== this.token && !(request.socket as TLSSocket).authorized) {
      send(response, 401, status(401, 'Unauthorized', 'Unauthorized'));
    } else if (this.fault === 'forbidden') {
      const denial = `cannot ${kind} resource "endpointslices" in API group "${GROUP}" in the namespace "${namespace}"`;
      const message = `endpointslices.${GROUP} is forbidden: User "${USER}" ${denial}`;
      send(response, 403, status(403, 'Forbidden', message));
    } else if (this.fault !== 'silent') {
      const [, service] = /^kubernetes\.io\/service-name=(.+)$/.exec(searchParams.get('labelSelector') ?? '') ?? [];
      const matches = ({ metadata }: EndpointSlice): boolean =>
        metadata?.namespace === namespace &&
        (service === undefined || metadata.labels?.['kubernetes.io/service-name'] === service);
      if (kind === 'watch') this.watch(searchParams, matches, response);
      else this.list(matches, response);
    }
  }

  private list(matches: OpenWatch['matches'], response: ServerResponse): void {
    send(response, 200, {
      apiVersion: API_VERSION,
      kind: 'EndpointSliceList',
      metadata: { resourceVersion: String(this.version) },
      items: [...this.slices.values()].filter(matches),
    });
  }

  private watch(parameters: URLSearchParams, matches: OpenWatch['matches'], response: ServerResponse): void {
    const from = Number(parameters.get('resourceVersion') ?? this.version);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    if (this.fault === 'short-watches') {
      response.end();
      return;
    }
    if (from < this.compacted) {
      response.end(line({ type: 'ERROR', object: expired(from, this.compacted) }));
      return;
    }
    for (const { type, version, object } of this.events)
      if (version > from && matches(object)) response.write(line({ type, object }));
    const watch = { matches, response, allowsBookmarks: parameters.get('allowWatchBookmarks') === 'true' };
    this.watches.add(watch);
    response.on('close', () => this.watches.delete(watch));
  }
}

const line = (event: object): string => `${JSON.stringify(event)}\n`;

function send(response: ServerResponse, code: number, body: object): void {
  response.writeHead(code, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function status(code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
}

const expired = (from: number, oldest: number): object =>
  status(410, 'Expired', `too old resource version: ${String(from)} (${String(oldest)})`);
