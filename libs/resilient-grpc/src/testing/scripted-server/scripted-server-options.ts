import { ServerCredentials } from '@grpc/grpc-js';
import type { ServerOptions } from '@grpc/grpc-js';
import type { Clock } from '../../time/clock.js';
import type { Script } from './reply.js';
import type { ScriptedCall } from './scripted-call.js';
import type { ServiceDefinitionOptions } from './service-methods.js';

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

/** Returns grpc-js credentials for `tls`; insecure credentials if undefined. */
export function serverCredentials(tls: ScriptedServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}
