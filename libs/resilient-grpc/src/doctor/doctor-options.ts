import { parseArgs } from 'node:util';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { describeValue, problemMessage } from '../policy/options/describe-value.js';
import { errorMessage } from '../errors/error-message.js';

export type DoctorOptions = Extract<ReturnType<typeof readArguments>, { kind: 'run' }>['options'];

export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Number of pings sent by the keepalive check. By default, servers tolerate the first ping after data and two more (gRFC A8, A9), so the
 * fourth ping reveals their limit.
 */
export const KEEPALIVE_PINGS = 5;

const DEFAULT_TIMEOUT_MS = 20_000;
const DEFAULT_CONNECT_TIMEOUT_MS = 5_000;

const OPTIONS = {
  tls: { type: 'boolean' },
  ca: { type: 'string' },
  cert: { type: 'string' },
  key: { type: 'string' },
  'server-name': { type: 'string' },
  service: { type: 'string' },
  keepalive: { type: 'string' },
  idle: { type: 'string' },
  timeout: { type: 'string' },
  'connect-timeout': { type: 'string' },
  'service-config': { type: 'string' },
  proto: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type TimeOption = 'keepalive' | 'idle' | 'timeout' | 'connect-timeout';

const WITHOUT_TARGET: ReadonlySet<string> = new Set(['service-config', 'proto', 'json', 'help']);
const TIME = /^(\d{1,9}(?:\.\d{1,3})?)([sm])$/;

export function readArguments(args: readonly string[]) {
  let parsed;
  try {
    parsed = parseArgs({ args: [...args], options: OPTIONS, allowPositionals: true });
  } catch (error) {
    // Node's messages continue with advice about positional arguments.
    const [message = ''] = errorMessage(error).split('. ');
    return { kind: 'wrong', problems: [{ path: 'arguments', message }] } as const;
  }
  const { values, positionals } = parsed;
  const [command, target, ...more] = positionals;
  if (values.help === true || command === 'help' || (command === undefined && args.length === 0))
    return { kind: 'help' } as const;

  const problems: ConfigurationProblem[] = [];
  const add = (path: string, message: string) => problems.push({ path, message });
  if (command !== 'doctor') add('command', problemMessage("'doctor' or 'migrate'", command, 'write doctor <target>'));
  if (more.length > 0)
    add('target', `expected one target, got ${positionals.slice(1).map(describeValue).join(' and ')}`);
  const time = (name: TimeOption, orElse: number): number => {
    const value = values[name];
    if (value === undefined) return orElse;
    const [, amount, unit] = TIME.exec(value) ?? [];
    const ms = Math.round(Number(amount) * (unit === 'm' ? 60_000 : 1_000));
    if (ms > 0) return ms;
    add(`--${name}`, problemMessage('a duration above 0 such as 30s or 10m', value));
    return orElse;
  };
  const { 'service-config': serviceConfigFile, proto: protoFile, service, keepalive, idle } = values;
  const { tls, ca, cert, key, 'server-name': serverName } = values;
  const usesTls = tls === true || [ca, cert, key, serverName].some((value) => value !== undefined);
  if (target === undefined && serviceConfigFile === undefined && problems.length === 0)
    add('target', 'expected a target, as in the url of a client, got nothing; write doctor orders:50051');
  // Options without effect are rejected, because users would assume that they took effect.
  if (target === undefined)
    for (const name of Object.keys(values))
      if (!WITHOUT_TARGET.has(name)) add(`--${name}`, 'requires a target; write doctor <host:port> before it');
  if (protoFile !== undefined && serviceConfigFile === undefined) add('--proto', 'requires --service-config FILE');
  const options = {
    target,
    tls: usesTls ? { ca, cert, key, serverName } : undefined,
    service,
    keepaliveMs: keepalive === undefined ? undefined : time('keepalive', 0),
    idleMs: idle === undefined ? undefined : time('idle', 0),
    timeoutMs: time('timeout', DEFAULT_TIMEOUT_MS),
    connectTimeoutMs: time('connect-timeout', DEFAULT_CONNECT_TIMEOUT_MS),
    serviceConfigFile,
    protoFile,
    json: values.json ?? false,
  };
  return problems.length === 0 ? ({ kind: 'run', options } as const) : ({ kind: 'wrong', problems } as const);
}
