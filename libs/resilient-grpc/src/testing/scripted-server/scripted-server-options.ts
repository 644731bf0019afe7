import { ServerCredentials } from '@grpc/grpc-js';
import type { ServerOptions } from '@grpc/grpc-js';
import type { Clock } from '../../time/clock.js';
import { problemMessage } from '../../policy/options/describe-value.js';
import { functionProblem, numberProblem, type KeyRemedies } from '../../policy/options/value-rules.js';
import { anyValue, checkOptions, clockRule, objectRule, optional, portRule, tlsRule } from '../option-rules.js';
import type { OptionRules } from '../option-rules.js';
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

const RECORDS_RULE = {
  expected: 'an integer of 1 or more, or Infinity',
  isValid: (value: number) => value === Infinity || (Number.isInteger(value) && value >= 1),
};

const RULES: OptionRules<ScriptedGrpcServerOptions> = {
  // The files, the packages, and the options of the loader are checked when they are loaded.
  protoPath: (value) =>
    value === undefined ? problemMessage('a .proto file', value, "write protoPath: 'orders.proto'") : undefined,
  package: anyValue,
  loader: anyValue,
  port: portRule,
  tls: tlsRule,
  serverOptions: objectRule,
  attemptKey: optional(functionProblem),
  scripts: objectRule,
  maxRecords: optional((value) => numberProblem(value, RECORDS_RULE)),
  clock: clockRule,
};

const REMEDIES: KeyRemedies = {
  packageDefinition: 'write protoPath',
  url: 'write port, or omit it for a free port',
};

/** @throws GrpcConfigurationError if an option is unknown or invalid */
export function checkServerOptions(options: ScriptedGrpcServerOptions): void {
  checkOptions(options, RULES, SCRIPTED_SERVER, "{ protoPath: 'orders.proto' }", REMEDIES);
}

/** Returns grpc-js credentials for `tls`; insecure credentials if undefined. */
export function serverCredentials(tls: ScriptedServerTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const ca = tls.ca === undefined ? null : Buffer.from(tls.ca);
  const pair = { private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) };
  return ServerCredentials.createSsl(ca, [pair], ca !== null);
}
