import { setTimeout as pause } from 'node:timers/promises';
import { createClient } from 'redis';
import { Daemon, dataFolder } from './daemon.js';
import { freePort } from './free-port.mjs';

/** Returns a connected client that fails at once while the server is down, and connects again. */
export async function redisClientTo(port: number) {
  const client = createClient({
    socket: { host: '127.0.0.1', port, reconnectStrategy: 20 },
    disableOfflineQueue: true,
  });
  client.on('error', () => undefined);
  await client.connect();
  return client;
}

export type RedisClient = Awaited<ReturnType<typeof redisClientTo>>;

/** A Redis server on a port of 127.0.0.1, with its data in its own folder. */
export class Redis {
  private constructor(
    private readonly daemon: Daemon,
    readonly port: number,
  ) {}

  /** @param settings arguments such as '--appendonly yes'; without them, a restart is empty */
  static async start(...settings: readonly string[]): Promise<Redis> {
    const port = await freePort();
    const folder = dataFolder('redis');
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', ...settings];
    const responds = async () => {
      const client = createClient({ socket: { host: '127.0.0.1', port, reconnectStrategy: false } });
      client.on('error', () => undefined);
      try {
        await client.connect();
        await client.ping();
      } finally {
        client.destroy();
      }
    };
    const daemon = new Daemon('redis-server', args, folder, responds);
    await daemon.start();
    return new Redis(daemon, port);
  }

  async kill(): Promise<void> {
    await this.daemon.end('SIGKILL');
  }

  /** Kills the server, and starts it again after `downMs`. */
  async restart(downMs = 0): Promise<void> {
    await this.kill();
    await pause(downMs);
    await this.daemon.start();
  }

  close(): Promise<void> {
    return this.daemon.close();
  }
}
