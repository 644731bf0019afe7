import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import dns from 'node:dns';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { freePort } from './free-port.mjs';

/** A dnsmasq process on loopback. It serves the addresses of one name with a TTL of 0. */
export class Dnsmasq {
  private readonly folder = mkdtempSync(join(tmpdir(), 'dnsmasq-'));
  private process: ChildProcess | undefined;
  private output = '';

  private constructor(
    private readonly name: string,
    private readonly port: number,
  ) {}

  /**
   * Starts dnsmasq; resolves when dnsmasq responds.
   *
   * @param port an unused port by default
   */
  static async start(name: string, addresses: readonly string[], port?: number): Promise<Dnsmasq> {
    const server = new Dnsmasq(name, port ?? (await freePort()));
    server.list(addresses);
    await server.startProcess();
    return server;
  }

  /** '127.0.0.1:port' */
  get url(): string {
    return `127.0.0.1:${String(this.port)}`;
  }

  /** Sets the addresses of the name. */
  list(addresses: readonly string[]): void {
    writeFileSync(this.hosts, addresses.map((address) => `${address} ${this.name}\n`).join(''));
    // On SIGHUP, dnsmasq reads the file again.
    this.process?.kill('SIGHUP');
  }

  async close(): Promise<void> {
    this.process?.kill('SIGTERM');
    await waitFor(() => this.process === undefined, {
      timeoutMs: 20_000,
      describe: () => `dnsmasq to end:\n${this.output}`,
    });
    rmSync(this.folder, { recursive: true });
  }

  private get hosts(): string {
    return join(this.folder, 'hosts');
  }

  private async startProcess(): Promise<void> {
    const own = ['--no-daemon', '--conf-file=/dev/null', '--no-resolv', '--no-hosts', `--addn-hosts=${this.hosts}`];
    const listen = ['--listen-address=127.0.0.1', '--bind-interfaces', `--port=${String(this.port)}`];
    // setpriv makes the kernel kill dnsmasq when this process ends.
    const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'dnsmasq', ...own, ...listen], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => (this.output += text));
    }
    child.once('close', () => (this.process = undefined));
    const resolver = new dns.promises.Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([this.url]);
    const responds = async () => (await resolver.resolve4(this.name).catch(() => [])).length > 0;
    await waitFor(async () => this.process === undefined || (await responds()), { timeoutMs: 20_000 });
    if (this.process === undefined) throw new Error(`dnsmasq has ended:\n${this.output}`);
  }
}
