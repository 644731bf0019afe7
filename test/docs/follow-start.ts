import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { request, type IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-resilient-grpc/testing';

/** Generous time limit for a program to start or a log line to appear. */
const IN_TIME = { timeoutMs: 60_000 };

/** Results of the steps in docs/index.md. */
export interface Seen {
  readonly order: unknown;
  readonly whileRestarted: unknown;
  readonly whileDown: unknown;
  /** Output of the application. */
  readonly log: string;
}

/** Runs the programs of docs/index.md, compiled in `application`, with Unix sockets in place of their ports. */
export async function followStart(application: string): Promise<Seen> {
  const folder = mkdtempSync(join(tmpdir(), 'start-'));
  const [http, orders, others] = ['http', 'orders', 'others'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const running: Program[] = [];
  const start = async (name: string, socket: string) => {
    // Runs in the folder of the page's blocks, which contains the page's own orders.proto.
    const child = spawn(process.execPath, [join(application, 'dist/docs/index', `${name}.js`)], {
      cwd: join(application, 'blocks/docs/index'),
      env: { ...process.env, NO_COLOR: '1', ORDERS_URL: `unix:${socket}`, PORT: http },
    });
    const program = new Program(child);
    running.push(program);
    await waitFor(() => program.output.includes('successfully started'), IN_TIME);
    return program;
  };
  const curl = async () => {
    // Waits for the socket, because Nest logs its start before it listens.
    await waitFor(() => existsSync(http), IN_TIME);
    const [response] = (await once(request({ socketPath: http, path: '/orders/7' }).end(), 'response')) as [
      IncomingMessage,
    ];
    return JSON.parse((await response.setEncoding('utf8').toArray()).join('')) as unknown;
  };
  try {
    // Starts the replacement of the service in advance, because a slow machine might not start it within the 5 s that the call waits.
    const [service, next, gateway] = [
      await start('orders-service', orders),
      await start('orders-service', others),
      await start('main', orders),
    ];
    const order = await curl();

    await service.end('SIGKILL');
    const held = curl();
    await waitFor(() => gateway.output.includes('outage: '), IN_TIME);
    renameSync(others, orders);
    const whileRestarted = await held;
    await waitFor(() => gateway.output.includes('reconnected after'), IN_TIME);

    await next.end('SIGKILL');
    const whileDown = await curl();
    await gateway.end('SIGTERM');
    return { order, whileRestarted, whileDown, log: gateway.output };
  } finally {
    for (const program of running) await program.end('SIGKILL');
    rmSync(folder, { recursive: true });
  }
}

/** A process and its output. */
class Program {
  output = '';
  private readonly ended: Promise<unknown>;

  constructor(private readonly child: ChildProcess) {
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    this.ended = once(child, 'close');
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    this.child.kill(signal);
    await this.ended;
  }
}
