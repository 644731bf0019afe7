import { ServerCredentials } from '@grpc/grpc-js';
import type { ServerOptions } from '@grpc/grpc-js';
import type { Clock } from '../../time/clock.js';
import type { Script } from './reply.js';
import type { ScriptedCall } from './scripted-call.js';
import type { ServiceSource } from './service-methods.js';

/** Options of a scripted server. */
export interface ScriptedGrpcServerOptions extends ServiceSource {
  /** @defaultValue 0, a free one, which it keeps over restarts */
  readonly port?: number | undefined;
  /** @defaultValue plain text */
  readonly tls?: ScriptedServerTls | undefined;
  /** Options of grpc-js's server. */
  readonly serverOptions?: ServerOptions | undefined;
  /** What makes two calls attempts of one. @defaultValue the metadata `x-call-id` */
  readonly attemptKey?: ((call: ScriptedCall) => string | undefined) | undefined;
  /** Scripts by method, as `script()` takes them. */
  readonly scripts?: Readonly<Record<string, Script>> | undefined;
  /** Calls whose records are kept. @defaultValue 10 000 */
  readonly maxRecords?: number | undefined;
  /** Time of delays. @defaultValue the system's */
  readonly clock?: Clock | undefined;
}

/** Key and certificate in PEM; with `ca` callers must have a certificate of that authority. */
export interface ScriptedServerTls {
  readonly key: string | Buffer;
  readonly cert: string | Buffer;
  readonly ca?: string | Buffer | undefined;
}

/** Credentials of grpc-js for `tls`; insecure without. */
export function serverCredentials(tls: ScriptedServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}
