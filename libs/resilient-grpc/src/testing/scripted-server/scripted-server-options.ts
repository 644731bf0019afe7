import { ServerCredentials } from '@grpc/grpc-js';
import type { ServerOptions } from '@grpc/grpc-js';
import * as v from 'valibot';
import { requireOptions } from '../../policy/options/option-problems.js';
import { integer, isObject, object } from '../../policy/options/option-schemas.js';
import type { Clock } from '../../time/clock.js';
import { pemError } from '../pem-error.js';
import type { Script } from './reply.js';
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
  /** Maximum number of call records to keep. @defaultValue 10,000 */
  readonly maxRecords?: number | undefined;
  /** Clock for delays. @defaultValue the system clock */
  readonly clock?: Clock | undefined;
}

/** Key and certificate in PEM. With `ca`, clients must present a certificate issued by that authority. */
export interface ScriptedServerTls {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  readonly ca?: string | Buffer | undefined;
}

const pem = v.custom<string | Buffer>(
  (value) => typeof value === 'string' || Buffer.isBuffer(value),
  'PEM text or a Buffer; write the contents of the file, as readFileSync() returns them',
);

const tlsSchema = v.pipe(
  object({ key: pem, cert: pem, ca: v.optional(pem) }, 'an object such as { key, cert }, in PEM format'),
  // Checked here, so that the start fails instead of the first connection.
  v.rawCheck(({ dataset, addIssue }) => {
    const error = dataset.typed ? pemError(dataset.value) : undefined;
    if (error !== undefined) {
      const remedy = 'write the contents of the files, as readFileSync() returns them';
      addIssue({ message: `expected key, cert, and ca in PEM format, got "${error.message}"; ${remedy}` });
    }
  }),
);

const isObjectOf = (what: string) => v.optional(v.custom<object>(isObject, what));

const RECORDS = 'an integer of 1 or more, or Infinity';
const records = v.pipe(
  v.number(RECORDS),
  v.check((value) => value === Infinity || (Number.isInteger(value) && value >= 1), RECORDS),
);

// The values that are `unknown` are checked when the proto is loaded and when the scripts are set.
const serverOptionsSchema = object(
  {
    protoPath: v.custom((value) => value !== undefined, "a .proto file; write protoPath: 'orders.proto'"),
    package: v.optional(v.unknown()),
    loader: v.optional(v.unknown()),
    port: v.optional(integer(0, 65_535)),
    tls: v.optional(tlsSchema),
    serverOptions: isObjectOf("an object of grpc-js options such as { 'grpc.max_concurrent_streams': 100 }"),
    attemptKey: v.optional(v.function("a function; write (call) => call.metadata.get('x-id')[0]?.toString()")),
    scripts: isObjectOf('an object such as { Get: { message: { … } } }'),
    maxRecords: v.optional(records),
    clock: v.optional(v.custom((value) => isObject(value) && 'now' in value, 'a clock; write new VirtualClock()')),
  },
  "options such as { protoPath: 'orders.proto' }",
  { packageDefinition: 'write protoPath', url: 'write port, or omit it for a free port' },
);

/** @throws GrpcConfigurationError if an option is unknown or invalid */
export function checkServerOptions(options: ScriptedGrpcServerOptions): void {
  requireOptions(serverOptionsSchema, options, SCRIPTED_SERVER);
}

/** Returns grpc-js credentials for `tls`; insecure credentials if undefined. */
export function serverCredentials(tls: ScriptedServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}
