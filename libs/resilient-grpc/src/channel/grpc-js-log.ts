import { format } from 'node:util';
import { logVerbosity, setLogger, setLogVerbosity } from '@grpc/grpc-js';

/** Levels of grpc-js's log. Each level includes those before it. */
export const GRPC_JS_LOG_LEVELS = ['error', 'info', 'debug'] as const;

export type GrpcJsLogLevel = (typeof GRPC_JS_LOG_LEVELS)[number];

export type GrpcJsLogWriter = (level: GrpcJsLogLevel, text: string) => void;

interface Redirection {
  readonly level: GrpcJsLogLevel;
  readonly write: GrpcJsLogWriter;
}

const VERBOSITIES = { error: logVerbosity.ERROR, info: logVerbosity.INFO, debug: logVerbosity.DEBUG } as const;

const REDIRECTIONS = Symbol.for('nestjs-resilient-grpc.grpcJsLog');

/**
 * Active redirections, oldest first. grpc-js has one logger per process, so the applications of a process share these redirections, even if
 * they use several copies of this library, such as its ESM and CommonJS builds.
 */
const redirections = ((globalThis as Record<symbol, Set<Redirection> | undefined>)[REDIRECTIONS] ??=
  new Set<Redirection>());

/**
 * Sends the log of grpc-js to `write` instead of stderr. If several redirections are active, the latest one receives each entry, and the
 * most verbose level applies. Returns a function that ends this redirection. After all redirections have ended, grpc-js writes to stderr
 * again, at its initial level.
 */
export function redirectGrpcJsLog(level: GrpcJsLogLevel, write: GrpcJsLogWriter): () => void {
  const redirection = { level, write };
  redirections.add(redirection);
  apply();
  return () => {
    if (redirections.delete(redirection)) apply();
  };
}

function apply(): void {
  const latest = [...redirections].at(-1);
  setLogger(loggerOf(latest?.write ?? writeToStderr));
  const levels = [...redirections].map(({ level }) => VERBOSITIES[level]);
  setLogVerbosity(latest === undefined ? initialVerbosity() : Math.min(...levels));
}

function loggerOf(write: GrpcJsLogWriter): Partial<Console> {
  let isWriting = false;
  const writer =
    (level: GrpcJsLogLevel) =>
    (...values: unknown[]): void => {
      // Drops the entries that `write` itself causes, for example by making gRPC calls, because writing them would cause infinite
      // recursion.
      if (isWriting) return;
      isWriting = true;
      try {
        write(level, format(...values));
      } finally {
        isWriting = false;
      }
    };
  return { error: writer('error'), info: writer('info'), debug: writer('debug') };
}

/** Writes an entry in the format of grpc-js's own logger, which grpc-js does not export. */
function writeToStderr(level: GrpcJsLogLevel, text: string): void {
  process.stderr.write(`${level.charAt(0).toUpperCase()} ${text}\n`);
}

function initialVerbosity(): logVerbosity {
  const { GRPC_NODE_VERBOSITY, GRPC_VERBOSITY } = process.env;
  const name = (GRPC_NODE_VERBOSITY ?? GRPC_VERBOSITY ?? '').toLowerCase();
  const level = GRPC_JS_LOG_LEVELS.find((one) => one === name);
  if (level !== undefined) return VERBOSITIES[level];
  return name === 'none' ? logVerbosity.NONE : logVerbosity.ERROR;
}
