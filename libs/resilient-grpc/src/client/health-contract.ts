import { fromJSON, type PackageDefinition } from '@grpc/proto-loader';

export const HEALTH_SERVICE = 'grpc.health.v1.Health';

let contract: PackageDefinition | undefined;

/**
 * Returns the standard health service (https://github.com/grpc/grpc-proto/blob/master/grpc/health/v1/health.proto). It is defined here
 * because grpc-health-check depends on an older proto-loader. With that package, an application would load two versions. It is created on
 * the first call, because most clients do not use it.
 */
export function healthContract(): PackageDefinition {
  contract ??= fromJSON(
    nested(['grpc', 'health', 'v1'], {
      options: {
        csharp_namespace: 'Grpc.Health.V1',
        go_package: 'google.golang.org/grpc/health/grpc_health_v1',
        java_multiple_files: true,
        java_outer_classname: 'HealthProto',
        java_package: 'io.grpc.health.v1',
      },
      nested: {
        HealthListRequest: { fields: {} },
        HealthListResponse: { fields: { statuses: { keyType: 'string', type: 'HealthCheckResponse', id: 1 } } },
        HealthCheckRequest: { fields: { service: { type: 'string', id: 1 } } },
        HealthCheckResponse: {
          fields: { status: { type: 'ServingStatus', id: 1 } },
          nested: { ServingStatus: { values: { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2, SERVICE_UNKNOWN: 3 } } },
        },
        Health: {
          methods: {
            Check: method('HealthCheckRequest', 'HealthCheckResponse'),
            Watch: { ...method('HealthCheckRequest', 'HealthCheckResponse'), responseStream: true },
            List: method('HealthListRequest', 'HealthListResponse'),
          },
        },
      },
    }),
    { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true },
  );
  return contract;
}

type Namespace = Parameters<typeof fromJSON>[0];

function method(requestType: string, responseType: string) {
  // The type requires `comment`.
  return { requestType, responseType, comment: '' };
}

function nested(names: readonly string[], inner: object): Namespace {
  // Safe cast: `inner` is a valid namespace, but protobufjs's types do not allow its map field `statuses`.
  return names.reduceRight((namespace, name): Namespace => ({ nested: { [name]: namespace } }), inner as Namespace);
}
