import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { Server, ServerCredentials, type ServerDuplexStream, type ServiceDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { shown } from '../shown.js';
import { orders, type Resource, type Routing } from './resources.js';

/** A subscription, or the client's ACK or NACK of a response. */
interface DiscoveryRequest {
  readonly typeUrl: string;
  readonly resourceNames: readonly string[];
  /** Empty in the first request of a type. */
  readonly responseNonce: string;
  /** Set if the client rejects the response. */
  readonly errorDetail: { readonly message: string } | null;
}

interface DiscoveryResponse {
  readonly typeUrl: string;
  readonly versionInfo: string;
  readonly nonce: string;
  readonly resources: readonly Resource[];
}

type Stream = ServerDuplexStream<DiscoveryRequest, DiscoveryResponse>;

// Reads Envoy's API, which contains the protos of xDS, from the xDS client package.
const deps = join(dirname(createRequire(import.meta.url).resolve('@grpc/grpc-js-xds/package.json')), 'deps');
const envoy = (name: string) => `envoy/${name}.proto`;
const definition = loadSync(
  [
    envoy('service/discovery/v3/ads'),
    envoy('config/listener/v3/listener'),
    envoy('config/route/v3/route'),
    envoy('config/cluster/v3/cluster'),
    envoy('config/endpoint/v3/endpoint'),
    envoy('extensions/filters/network/http_connection_manager/v3/http_connection_manager'),
    envoy('extensions/filters/http/router/v3/router'),
  ],
  {
    includeDirs: ['envoy-api', 'xds', 'googleapis', 'protoc-gen-validate'].map((folder) => join(deps, folder)),
    defaults: true,
    enums: String,
    longs: String,
  },
);

/**
 * A control plane: the state-of-the-world aggregated discovery service (ADS) of xDS with one service, `orders`. Tests can change the
 * servers and routes of `orders`.
 */
export class ControlPlane {
  /** Error messages of rejected responses. */
  readonly rejections: string[] = [];
  private readonly server = new Server();
  private readonly streams = new Map<Stream, Map<string, readonly string[]>>();
  private version = 0;
  private resources: readonly Resource[] = [];
  private port = 0;

  static async start(routing: Routing): Promise<ControlPlane> {
    const plane = new ControlPlane();
    // The cast is safe because the package definition has this service.
    const service = definition['envoy.service.discovery.v3.AggregatedDiscoveryService'] as ServiceDefinition;
    plane.server.addService(service, {
      StreamAggregatedResources: (stream: Stream) => {
        plane.serve(stream);
      },
    });
    const bind = promisify(plane.server.bindAsync.bind(plane.server));
    plane.port = await bind('127.0.0.1:0', ServerCredentials.createInsecure());
    plane.publish(routing);
    return plane;
  }

  /** The bootstrap of docs/deploy/meshes-xds.md with the address of this control plane, for `GRPC_XDS_BOOTSTRAP_CONFIG`. */
  get bootstrap(): string {
    return shown('meshes-xds', 'json', { 'control-plane.mesh:18000': `127.0.0.1:${this.port}` });
  }

  /** Publishes new servers and routes of the service. */
  publish(routing: Routing): void {
    this.version += 1;
    this.resources = orders(routing);
    for (const [stream, subscriptions] of this.streams) {
      for (const typeUrl of subscriptions.keys()) this.send(stream, typeUrl);
    }
  }

  close(): void {
    this.server.forceShutdown();
  }

  private serve(stream: Stream): void {
    const subscriptions = new Map<string, readonly string[]>();
    this.streams.set(stream, subscriptions);
    stream.on('data', ({ typeUrl, resourceNames, responseNonce, errorDetail }: DiscoveryRequest) => {
      if (errorDetail !== null) this.rejections.push(errorDetail.message);
      const before = subscriptions.get(typeUrl);
      subscriptions.set(typeUrl, resourceNames);
      // A plain ACK needs no response.
      const more = resourceNames.some((name) => !before?.includes(name));
      if (responseNonce === '' || more) this.send(stream, typeUrl);
    });
    const onEnd = (): void => {
      this.streams.delete(stream);
      stream.end();
    };
    stream.on('end', onEnd).on('cancelled', onEnd).on('error', onEnd);
  }

  private send(stream: Stream, typeUrl: string): void {
    const names = this.streams.get(stream)?.get(typeUrl) ?? [];
    const resources = this.resources.filter(
      (resource) => resource['@type'] === typeUrl && names.includes(resource.name ?? resource.clusterName ?? ''),
    );
    const version = String(this.version);
    stream.write({ typeUrl, versionInfo: version, nonce: `${typeUrl}@${version}`, resources });
  }
}
