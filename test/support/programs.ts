import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';

const CHROMIUM_PATHS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The Python interpreter of Debian's python3-grpcio. */
export const PYTHON = '/usr/bin/python3';

/** The folder in which Debian's golang-google-grpc-dev installs its sources. */
export const GO_PATH = '/usr/share/gocode';

const POSTGRES_VERSIONS = '/usr/lib/postgresql';

/** The folder of the programs of PostgreSQL, which Debian does not put into the path; '' if none is installed. */
export const POSTGRES_BIN = existsSync(POSTGRES_VERSIONS)
  ? `${POSTGRES_VERSIONS}/${readdirSync(POSTGRES_VERSIONS).at(-1) ?? ''}/bin`
  : '';

/**
 * The path in the environment variable CHROMIUM or, if that is not set, the path of an installed Chromium or Chrome. `undefined` if
 * CHROMIUM is empty, or if it is not set and no browser is installed.
 */
export const CHROMIUM = (process.env['CHROMIUM'] ?? CHROMIUM_PATHS.find((path) => existsSync(path))) || undefined;

/** An optional program or system feature that some tests use. */
export type OptionalProgram =
  | 'Chromium'
  | 'grpcio'
  | 'grpc-go'
  | 'nginx'
  | 'haproxy'
  | 'dnsmasq'
  | 'Prometheus'
  | 'PostgreSQL'
  | 'PgBouncer'
  | 'Redis'
  | 'procfs'
  | 'namespaces';

/** Command that runs another command in its own network and mount namespaces, without privileges. */
export const IN_NAMESPACES = ['unshare', '--map-root-user', '--net', '--mount'] as const;

const succeeds = (command: string, ...args: readonly string[]): boolean => spawnSync(command, args).status === 0;

const IS_INSTALLED: Readonly<Record<OptionalProgram, () => boolean>> = {
  Chromium: () => CHROMIUM !== undefined,
  grpcio: () => succeeds(PYTHON, '-c', 'import grpc'),
  'grpc-go': () => existsSync(`${GO_PATH}/src/google.golang.org/grpc`) && succeeds('go', 'version'),
  nginx: () => succeeds('nginx', '-v'),
  haproxy: () => succeeds('haproxy', '-v'),
  dnsmasq: () => succeeds('dnsmasq', '--version') && succeeds('setpriv', '--version'),
  Prometheus: () => succeeds('prometheus', '--version') && succeeds('promtool', '--version'),
  PostgreSQL: () => succeeds(`${POSTGRES_BIN}/initdb`, '--version'),
  PgBouncer: () => succeeds('pgbouncer', '--version'),
  Redis: () => succeeds('redis-server', '--version'),
  namespaces: () => succeeds(...IN_NAMESPACES, 'sh', '-c', 'mount -t tmpfs tmpfs /run && ip link set lo up'),
  procfs: () => existsSync('/proc/net/tcp'),
};

/** Debian packages and system requirements of each program or feature. */
const SOURCES: Readonly<Record<OptionalProgram, string>> = {
  Chromium: 'Debian: chromium',
  grpcio: 'Debian: python3-grpcio',
  'grpc-go': 'Debian: golang-go and golang-google-grpc-dev',
  nginx: 'Debian: nginx-light',
  haproxy: 'Debian: haproxy',
  dnsmasq: 'Debian: dnsmasq-base',
  Prometheus: 'Debian: prometheus',
  PostgreSQL: 'Debian: postgresql',
  PgBouncer: 'Debian: pgbouncer',
  Redis: 'Debian: redis-server',
  namespaces: 'Linux only; Debian: iproute2; user namespaces must be permitted',
  procfs: 'Linux only',
};

const found = new Map<OptionalProgram, boolean>();

/** True if this machine has `program`; the result is cached. */
export function isInstalled(program: OptionalProgram): boolean {
  const known = found.get(program) ?? IS_INSTALLED[program]();
  found.set(program, known);
  return known;
}

/** Missing programs with their sources: 'nginx (Debian: nginx-light)'. */
export function missingPrograms(): readonly string[] {
  return (Object.keys(IS_INSTALLED) as OptionalProgram[])
    .filter((program) => !isInstalled(program))
    .map((program) => `${program} (${SOURCES[program]})`);
}

/** Arguments of vitest's `skip` for a test that needs `programs`. */
export function skipWithout(...programs: readonly OptionalProgram[]): [condition: boolean, note: string] {
  const missing = programs.filter((program) => !isInstalled(program));
  return [missing.length > 0, missing.map((program) => `${program} is not available (${SOURCES[program]})`).join(', ')];
}
