const typeUrl = (name: string) => `type.googleapis.com/envoy.${name}`;

/** The service as the control plane publishes it. */
export interface Routing {
  /** Ports of its servers on 127.0.0.1. */
  readonly ports: readonly number[];
  /** Number of retries after UNAVAILABLE that the route's retry policy allows. @defaultValue 0 */
  readonly retries?: number;
}

/** An xDS resource in its JSON form. proto-loader packs objects with an `@type` as google.protobuf.Any. */
export interface Resource {
  readonly '@type': string;
  readonly name?: string;
  readonly clusterName?: string;
  readonly [field: string]: unknown;
}

/** The resources of the service `orders` for a gRPC client: listener and routes (LDS, RDS), cluster and endpoints (CDS, EDS). */
export function orders({ ports, retries = 0 }: Routing): readonly Resource[] {
  const retryPolicy = retries === 0 ? {} : { retryPolicy: { retryOn: 'unavailable', numRetries: { value: retries } } };
  const route = { cluster: 'orders-cluster', ...retryPolicy };
  const ads = { ads: {}, resourceApiVersion: 'V3' };
  return [
    {
      '@type': typeUrl('config.listener.v3.Listener'),
      name: 'orders',
      apiListener: {
        apiListener: {
          '@type': typeUrl('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
          rds: { configSource: ads, routeConfigName: 'orders-routes' },
          httpFilters: [
            { name: 'router', typedConfig: { '@type': typeUrl('extensions.filters.http.router.v3.Router') } },
          ],
        },
      },
    },
    {
      '@type': typeUrl('config.route.v3.RouteConfiguration'),
      name: 'orders-routes',
      virtualHosts: [
        {
          name: 'orders',
          domains: ['*'],
          routes: [{ match: { prefix: '' }, route }],
        },
      ],
    },
    {
      '@type': typeUrl('config.cluster.v3.Cluster'),
      name: 'orders-cluster',
      type: 'EDS',
      edsClusterConfig: { edsConfig: ads, serviceName: 'orders-endpoints' },
      lbPolicy: 'ROUND_ROBIN',
    },
    {
      '@type': typeUrl('config.endpoint.v3.ClusterLoadAssignment'),
      clusterName: 'orders-endpoints',
      endpoints: [
        {
          locality: { region: 'here', zone: 'a' },
          loadBalancingWeight: { value: 1 },
          lbEndpoints: ports.map((port) => ({
            endpoint: { address: { socketAddress: { address: '127.0.0.1', portValue: port } } },
          })),
        },
      ],
    },
  ];
}
