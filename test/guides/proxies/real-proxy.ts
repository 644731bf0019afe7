import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { shown, type Changes } from '../shown.js';

/** A proxy program between a client and its servers. */
export interface ProxyKind {
  readonly name: 'nginx' | 'haproxy';
  /** Arguments that run the program in the foreground with the configuration `file`, in `folder` if the program needs a folder. */
  readonly args: (folder: string, file: string) => readonly string[];
  /** Signal to reload the configuration. Calls in flight finish on their existing connections. */
  readonly reload: NodeJS.Signals;
  /** The listen directive on the page, and its replacement that listens on a Unix socket. */
  readonly listen: readonly [onPage: string, here: (path: string) => string];
  /** Adds the configuration that the page omits. */
  readonly around: (folder: string, config: string) => string;
}

export const NGINX: ProxyKind = {
  name: 'nginx',
  args: (folder, file) => ['-p', folder, '-c', file, '-e', 'stderr', '-g', 'daemon off;'],
  reload: 'SIGHUP',
  listen: ['listen 50051', (path) => `listen unix:${path}`],
  around: (folder, config) => `
pid ${folder}/pid;
worker_processes 1;
events {}
http {
  access_log off;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
${config}
}`,
};

export const HAPROXY: ProxyKind = {
  name: 'haproxy',
  args: (_folder, file) => ['-W', '-db', '-f', file],
  reload: 'SIGUSR2',
  listen: ['bind :50051', (path) => `bind unix@${path}`],
  around: (_folder, config) => config,
};

/** A running proxy, configured as docs/deploy/proxies.md shows. */
export class RealProxy {
  private readonly folder = mkdtempSync(join(tmpdir(), 'proxy-'));
  private readonly socket = join(this.folder, 'socket');
  private readonly file = join(this.folder, 'config');
  private process: ChildProcess | undefined;
  private output = '';

  private constructor(
    private readonly kind: ProxyKind,
    private readonly ports: readonly number[],
  ) {}

  /**
   * @param ports Ports of the servers on 127.0.0.1, in the order on the page.
   * @param changes Changes to the configuration on the page. Each replaced text must exist.
   */
  static async start(kind: ProxyKind, ports: readonly number[], changes: Changes = {}): Promise<RealProxy> {
    const proxy = new RealProxy(kind, ports);
    proxy.configure(changes);
    await proxy.startProcess();
    return proxy;
  }

  /** Target for clients. */
  get url(): string {
    return `unix:${this.socket}`;
  }

  /** Process IDs of the proxy's workers. Workers of an earlier configuration exit with their last connection. */
  workers(): readonly string[] {
    const pid = String(this.process?.pid);
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean);
  }

  /** Reloads the configuration of the page with these changes. */
  reload(changes: Changes = {}): void {
    this.configure(changes);
    this.process?.kill(this.kind.reload);
  }

  async close(): Promise<void> {
    this.process?.kill('SIGTERM');
    await waitFor(() => this.process === undefined, {
      timeoutMs: 20_000,
      describe: () => `${this.kind.name} to end:\n${this.output}`,
    });
    rmSync(this.folder, { recursive: true });
  }

  private configure(changes: Changes): void {
    const [onPage, here] = this.kind.listen;
    const servers = this.ports.map((port, index) => [`orders-${index + 1}:50051`, `127.0.0.1:${port}`]);
    const replacements = Object.fromEntries([[onPage, here(this.socket)], ...servers]) as Changes;
    const config = shown('proxies', this.kind.name, { ...changes, ...replacements });
    writeFileSync(this.file, `${this.kind.around(this.folder, config)}\n`);
  }

  private async startProcess(): Promise<void> {
    const { name, args } = this.kind;
    const child = spawn(name, args(this.folder, this.file), { stdio: ['ignore', 'pipe', 'pipe'] });
    this.process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    child.once('close', () => (this.process = undefined));
    await waitFor(() => existsSync(this.socket) || this.process === undefined, { timeoutMs: 20_000 });
    if (this.process === undefined) throw new Error(`${name} exited:\n${this.output}`);
  }
}
