import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { Daemon, dataFolder, UNPRIVILEGED } from './daemon.js';
import { POSTGRES_BIN } from './programs.js';

/** How clients of `pg` connect to a server. */
export interface ConnectionOptions {
  /** The folder of the socket. */
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

/** A PostgreSQL server on a socket in its own folder, without TCP. */
export class Postgres {
  private constructor(
    private readonly daemon: Daemon,
    readonly connection: ConnectionOptions,
  ) {}

  static async start(): Promise<Postgres> {
    const folder = dataFolder('postgres');
    const data = join(folder, 'data');
    execFileSync(
      `${POSTGRES_BIN}/initdb`,
      ['--no-sync', '--auth=trust', '--username=postgres', '--encoding=UTF8', '--no-locale', data],
      { ...UNPRIVILEGED, stdio: 'pipe', cwd: folder },
    );
    // A crash of the server alone loses nothing without fsync.
    const settings = ['listen_addresses=', `unix_socket_directories=${folder}`, 'fsync=off', 'max_connections=200'];
    const connection = { host: folder, port: 5432, user: 'postgres', database: 'postgres' };
    const args = ['-D', data, ...settings.flatMap((setting) => ['-c', setting])];
    const daemon = new Daemon(`${POSTGRES_BIN}/postgres`, args, folder, () => responds(connection));
    await daemon.start();
    return new Postgres(daemon, connection);
  }

  /** Ends all connections and transactions as a crash does, and starts again after `downMs`. */
  async restart(downMs = 0): Promise<void> {
    await this.daemon.end('SIGQUIT');
    await pause(downMs);
    await this.daemon.start();
  }

  close(): Promise<void> {
    return this.daemon.close();
  }
}

/** A PgBouncer that pools the transactions of a server. */
export class PgBouncer {
  private constructor(
    private readonly daemon: Daemon,
    readonly connection: ConnectionOptions,
  ) {}

  static async start(server: ConnectionOptions): Promise<PgBouncer> {
    const folder = dataFolder('pgbouncer');
    const port = 6432;
    writeFileSync(join(folder, 'users'), '"postgres" ""\n');
    writeFileSync(
      join(folder, 'pgbouncer.ini'),
      `[databases]
* = host=${server.host} port=${String(server.port)}
[pgbouncer]
listen_addr =
listen_port = ${String(port)}
unix_socket_dir = ${folder}
auth_type = trust
auth_file = ${join(folder, 'users')}
pool_mode = transaction
default_pool_size = 4
max_client_conn = 200
`,
    );
    const connection = { ...server, host: folder, port };
    const daemon = new Daemon('pgbouncer', [join(folder, 'pgbouncer.ini')], folder, () => responds(connection));
    await daemon.start();
    return new PgBouncer(daemon, connection);
  }

  close(): Promise<void> {
    return this.daemon.close();
  }
}

async function responds(connection: ConnectionOptions): Promise<void> {
  const client = new pg.Client(connection);
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query('SELECT 1');
  } finally {
    await client.end();
  }
}
