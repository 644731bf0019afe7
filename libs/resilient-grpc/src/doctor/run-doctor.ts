import { errorMessage } from '../errors/error-message.js';
import type { ConfigurationProblem } from '../errors/grpc-configuration-error.js';
import { oneLine } from '../telemetry/log/log-text.js';
import {
  type CheckResult,
  type Checks,
  plainPaint,
  renderCheck,
  renderJson,
  renderSummary,
  terminalPaint,
} from './check-result.js';
import { readArguments, type DoctorOptions, type Env } from './doctor-options.js';

export interface Terminal {
  readonly env: Env;
  readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean; hasColors?(): boolean };
  readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

const HELP = `Usage: nestjs-resilient-grpc doctor <target> [options]
       nestjs-resilient-grpc migrate [paths] [options]   (replaces ClientsModule; see migrate --help)

Diagnoses why a gRPC client cannot reach its server: name resolution, connection, TLS, HTTP/2, health.
<target> is the url of the client: orders:50051, dns:///orders:50051, ipv4:10.0.0.7:50051, unix:/run/orders.sock,
kubernetes:///orders.shop:50051 (uses the files in KUBECONFIG, ~/.kube/config, or the pod's service account)

  --tls                    use TLS with Node's default certificate authorities, like tls: {} in a client
  --ca FILE                use TLS with this certificate authority
  --cert FILE --key FILE   client certificate and key (mutual TLS)
  --server-name NAME       expected name in the certificate, if it differs from the target's host
  --service NAME           full name of a service for the health check, such as orders.v1.Orders
  --keepalive TIME         check whether the server accepts HTTP/2 pings at this interval; takes five intervals
  --idle TIME              measure how long idle connections last, up to this time
  --timeout TIME           time limit for all checks except keepalive and idle (20s)
  --connect-timeout TIME   time limit per step, such as a connection or a call (5s)

These do not require a target:
  --service-config FILE    check a service config; names are compared with --proto or reflection
  --proto FILE             .proto file that defines the methods

  --json                   print one JSON object on one line
  --help                   print this help

TIME is in seconds or minutes: 10s, 0.5s, 10m. Defaults are in parentheses.
Exit code: 0 if no check failed, 1 if a check failed, 2 for invalid usage.`;

const ERASE_LINE = '\r\u001b[2K';

const OK = 0;
const FAILED = 1;
const WRONG_USAGE = 2;

/** `args` are all arguments after `nestjs-resilient-grpc`. */
export async function runDoctor(args: readonly string[], terminal: Terminal): Promise<number> {
  const { env, stdout, stderr } = terminal;
  const read = readArguments(args);
  if (read.kind === 'help') {
    stdout.write(`${HELP}\n`);
    return OK;
  }
  if (read.kind === 'wrong') {
    const { problems } = read;
    // Prints JSON even for the invalid argument `--json=true`, because the caller parses JSON.
    if (args.some((arg) => /^--json(?:=|$)/.test(arg))) {
      stdout.write(renderJson({ version: 1, ok: false, exitCode: WRONG_USAGE, problems, checks: [] }));
    } else {
      for (const { path, message } of problems) stderr.write(`${path}: ${message}\n`);
      stderr.write('see nestjs-resilient-grpc --help\n');
    }
    return WRONG_USAGE;
  }
  const { options } = read;
  const paint = stdout.isTTY === true && stdout.hasColors?.() !== false ? terminalPaint : plainPaint;
  const progress = { isShown: false };
  const showProgress = (text: string) => {
    if (options.json || stderr.isTTY !== true) return;
    stderr.write(`${ERASE_LINE}${text}`);
    progress.isShown = true;
  };
  const checks: CheckResult[] = [];
  const failures: ConfigurationProblem[] = [];
  try {
    // Prints each result as soon as it is available, but only one JSON document.
    for await (const result of runChecks(options, env, showProgress)) {
      if (progress.isShown) stderr.write(ERASE_LINE);
      progress.isShown = false;
      checks.push(result);
      if (!options.json) stdout.write(renderCheck(result, paint));
    }
  } catch (error) {
    failures.push({ path: 'doctor', message: errorMessage(error) });
    if (!options.json) stderr.write(`the doctor itself failed: ${oneLine(errorMessage(error))}\n`);
  }
  const exitCode = failures.length > 0 || checks.some(({ status }) => status === 'failed') ? FAILED : OK;
  if (!options.json) stdout.write(renderSummary(checks, paint));
  else {
    const { target } = options;
    stdout.write(renderJson({ version: 1, target, ok: exitCode === OK, exitCode, problems: failures, checks }));
  }
  return exitCode;
}

async function* runChecks(options: DoctorOptions, env: Env, onProgress: (text: string) => void): Checks {
  const { target, serviceConfigFile, protoFile } = options;
  let reflected: CheckResult | undefined;
  if (target !== undefined) {
    const { checkTarget } = await import('./check-target.js');
    reflected = yield* checkTarget(target, options, env, onProgress);
  }
  if (serviceConfigFile !== undefined) {
    const { serviceConfigCheck } = await import('./service-config-check.js');
    yield serviceConfigCheck(serviceConfigFile, protoFile, reflected);
  }
}
