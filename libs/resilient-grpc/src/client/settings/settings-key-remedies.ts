import type { KeyRemedies } from './validate-options.js';

const NOT_NESTED =
  "it is Nest's nested form; write its keys beside `name`: { name: 'orders', url, protoPath, package }";

/** Keys that users bring along from elsewhere, and what they are here. */
export const SETTINGS_KEY_REMEDIES: KeyRemedies = {
  options: NOT_NESTED,
  transport: `it is always gRPC; leave it out (and ${NOT_NESTED})`,
  customClass: 'the client is ours; leave it out',
  protoLoader: '@grpc/proto-loader is used; leave it out, or load it yourself and write `packageDefinition`',
  maxMetadataSize: 'grpc-js has no such setting and ignored it; leave it out',
  gracefulShutdown: "it belongs to Nest's server; leave it out",
  onLoadPackageDefinition: "it belongs to Nest's server; leave it out",
  deadline: 'write `timeoutMs`: a length in milliseconds, counted anew for each call',
  timeout: 'write `timeoutMs`, in milliseconds',
  retry: 'write methods: { Get: { idempotent: true } }, or a retryPolicy in `serviceConfig`',
  retries: 'write methods: { Get: { idempotent: true } }, or a retryPolicy in `serviceConfig`',
  retryPolicy: 'write it into `serviceConfig`: { methodConfig: [{ name: [{ service }], retryPolicy }] }',
  methodConfig: 'write it into `serviceConfig`: { methodConfig: [...] }',
  idempotent: 'write it by method: methods: { Get: { idempotent: true } }',
  waitForReady: "write it by method: methods: { '*': { waitForReady: true } }",
  host: "write `url`: 'host:port'",
  port: "write `url`: 'host:port'",
  hostname: "write `url`: 'host:port'",
  address: "write `url`: 'host:port'",
  target: "write `url`: 'host:port'",
  ssl: 'write `tls`: { ca, cert, key }, or {} for the authorities of the system',
  secure: 'write `tls`: { ca, cert, key }, or {} for the authorities of the system',
  insecure: 'leave it out: without `tls` and `credentials` the connection is plain',
  protoPath: 'the contract stands beside `name`, not in what a factory gives; move it there',
  packageDefinition: 'the contract stands beside `name`, not in what a factory gives; move it there',
  package: 'the contract stands beside `name`, not in what a factory gives; move it there',
  loader: 'the contract stands beside `name`, not in what a factory gives; move it there',
  useFactory: 'write the client into ResilientGrpcModule.forFeatureAsync([...])',
  useClass: 'write the client into ResilientGrpcModule.forFeatureAsync([...])',
  useExisting: 'write the client into ResilientGrpcModule.forFeatureAsync([...])',
  inject: 'write the client into ResilientGrpcModule.forFeatureAsync([...])',
  imports: 'write the client into ResilientGrpcModule.forFeatureAsync([...])',
  name: 'the name stands beside the factory, not in what it gives; move it there',
};
