import { ServerCredentials } from '@grpc/grpc-js';
import type { ServerOptions } from '@grpc/grpc-js';
import * as v from 'valibot';
import { requireOptions } from '../../policy/options/option-problems.js';
import { isObject, object } from '../../policy/options/option-schemas.js';
import { clock, countOrInfinity, port, serverTls } from '../shared-options.js';
import type { Script } from './reply.js';
import type { VirtualClock } from '../virtual-clock.js';
import type { ScriptedCall } from './scripted-call.js';
import { SCRIPTED_SERVER, type ServiceDefinitionOptions } from './service-methods.js';

/** Options of a scripted server. */
export interface ScriptedGrpcServerOptions extends ServiceDefinitionOptions {
  /** Port to listen on. @defaultValue 0, a free port, kept across restarts */
  readonly port?: number | undefined;
  /** TLS key and certificate. @defaultValue plaintext */
  readonly tls?: ScriptedServerTls | undefined;
  /** Options of the grpc-js server. */
  readonly serverOptions?: ServerOptions | undefined;
  /** Returns a key that identifies the attempts of one client call. @defaultValue the metadata `x-call-id` */
  readonly attemptKey?: ((call: ScriptedCall) => string | undefined) | undefined;
  /** Scripts by method, as in `script()`. */
  readonly scripts?: Readonly<Record<string, Script>> | undefined;
  /** Maximum number of call records to keep, 1 or more; `Infinity` keeps all. @defaultValue 10,000 */
  readonly maxRecords?: number | undefined;
  /** Clock for delays. @defaultValue the system clock */
  readonly clock?: VirtualClock | undefined;
}

/** Key and certificate in PEM. If `ca` is set, clients must present a certificate issued by that authority. */
export interface ScriptedServerTls {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  readonly ca?: string | Buffer | undefined;
}

const optionalObject = (expected: string) => v.optional(v.custom<object>(isObject, expected));

// `package` and `loader` are checked when the proto is loaded. Each entry of `scripts` is checked when it is set.
const serverOptionsSchema = object(
  {
    protoPath: v.custom((value) => value !== undefined, "a .proto file; write protoPath: 'orders.proto'"),
    package: v.optional(v.unknown()),
    loader: v.optional(v.unknown()),
    port: v.optional(port),
    tls: v.optional(serverTls),
    serverOptions: optionalObject("an object of grpc-js options such as { 'grpc.max_concurrent_streams': 100 }"),
    attemptKey: v.optional(v.function("a function; write (call) => call.metadata.get('x-id')[0]?.toString()")),
    scripts: optionalObject('an object such as { Get: { message: { … } } }'),
    maxRecords: v.optional(countOrInfinity),
    clock: v.optional(clock),
  },
  "options such as { protoPath: 'orders.proto' }",
  { packageDefinition: 'write protoPath', url: 'write port, or omit it for a free port' },
);

/** @throws GrpcConfigurationError if an option is unknown or invalid */
export function checkServerOptions(options: ScriptedGrpcServerOptions): void {
  requireOptions(serverOptionsSchema, options, SCRIPTED_SERVER);
}

/** Returns grpc-js credentials for `tls`; insecure credentials if `tls` is undefined. */
export function serverCredentials(tls: ScriptedServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}
