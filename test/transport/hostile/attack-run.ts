import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { CLIENT_ATTACKS } from './client-attacks.js';
import { SERVER_ATTACKS, type ServerAttack } from './attacks.js';

const programOf = (name: string): URL => new URL(`./${name}.mjs`, import.meta.url);
const LOADER = fileURLToPath(new URL('../../support/typescript.mjs', import.meta.url));

/** Time within which a process must answer. */
const ANSWER_MS = 60_000;

/** Number of calls before the first figures. */
const WARMING_CALLS = 10_000;
/** Growth of the heap that may remain: compiled code, and counters of what happened. */
export const KEPT_BYTES = 8 * 1_048_576;
/** Number of samples in a churn: minutes of an hour. */
const CHURN_SAMPLES = 60;

/** What a server has used since the previous report, and holds. */
interface ServerReport {
  /** After a garbage collection, if one was wanted. */
  readonly heap?: number;
  readonly resident: number;
  readonly peak: number;
  readonly sockets: number;
  readonly streams: number;
  readonly lingering: number;
  readonly created: number;
  readonly written: number;
  readonly mostRunning: number;
  readonly logged: number;
  readonly cpuBefore: number;
  readonly cpuAfter: number;
}

/** What the honest client has met since the previous report. */
interface CanaryReport {
  readonly latencies: readonly number[];
  readonly answered: number;
  readonly errors: readonly string[];
  readonly refused: number;
  readonly written: number;
  readonly lost: number;
  readonly pending: number;
}

function start(script: string, args: readonly string[], options: object = {}): Promise<ChildServer> {
  return ChildServer.start({
    ...{ script: programOf(script), readyTimeoutMs: ANSWER_MS, ...options },
    args: (port) => (args.includes('--port') ? args : [...args, '--port', String(port)]),
  });
}

/** Sends an IPC message and returns the answer; `undefined` if the process has ended or does not answer. */
async function ask<T>(child: ChildServer, message: object = {}, timeoutMs = ANSWER_MS): Promise<T | undefined> {
  const before = child.messages.length;
  child.send({ ...message });
  const isAnswered = () => child.messages.length > before || !child.running;
  await waitFor(isAnswered, { timeoutMs }).catch(() => undefined);
  // The cast is safe because the programs send nothing else.
  return child.messages[before] as T | undefined;
}

/** A limit of memory for a process: a memory cgroup, or, where none can be made, what the process believes to be one. */
class Container {
  private constructor(
    readonly kind: 'cgroup v1' | 'cgroup v2' | 'constrainedMemory',
    private readonly folder: string,
    /** How to start Node in the container. */
    readonly start: { readonly execPath?: string; readonly execArgv: readonly string[] },
  ) {}

  static create(megabytes: number, execArgv: readonly string[]): Container {
    const bytes = megabytes * 1_048_576;
    for (const [kind, root, limit] of [
      ['cgroup v1', '/sys/fs/cgroup/memory', 'memory.limit_in_bytes'],
      ['cgroup v2', '/sys/fs/cgroup', 'memory.max'],
    ] as const) {
      const folder = join(root, `attacked-${String(process.pid)}-${String(megabytes)}`);
      try {
        mkdirSync(folder);
        writeFileSync(join(folder, limit), String(bytes));
      } catch {
        continue;
      }
      // Node reads the limit when it starts.
      const execPath = join(mkdtempSync(join(tmpdir(), 'container-')), 'node');
      writeFileSync(execPath, `#!/bin/sh\necho $$ > ${folder}/cgroup.procs\nexec ${process.execPath} "$@"\n`);
      chmodSync(execPath, 0o755);
      return new Container(kind, folder, { execPath, execArgv });
    }
    const code = `process.constrainedMemory = () => ${String(bytes)}`;
    return new Container('constrainedMemory', '', {
      execArgv: ['--import', `data:text/javascript,${code}`, ...execArgv],
    });
  }

  /** The most memory that was used, in bytes; `undefined` where only the process knows it. */
  get peakBytes(): number | undefined {
    if (this.folder === '') return undefined;
    const file = this.kind === 'cgroup v1' ? 'memory.max_usage_in_bytes' : 'memory.peak';
    return Number(readFileSync(join(this.folder, file), 'utf8'));
  }

  /** Removes the container, whose process has ended. */
  async remove(): Promise<void> {
    if (this.start.execPath !== undefined) rmSync(join(this.start.execPath, '..'), { recursive: true });
    if (this.folder !== '')
      await waitFor(() => {
        rmdirSync(this.folder);
        return true;
      });
  }
}

export interface Contender {
  /** 'theirs': Nest's server, or grpc-js's client. */
  readonly whose: 'ours' | 'theirs';
  /** Megabytes of the container. */
  readonly memory?: number | undefined;
  /** Megabytes of the old space of the heap. */
  readonly heap?: number | undefined;
}

/** How long and how large an attack is. */
export interface Extent {
  readonly ms?: number | undefined;
  readonly scale?: number | undefined;
  readonly seed?: number | undefined;
}

/** The figures of an attack. A figure without a unit is a count. */
export type Figures = Readonly<Record<string, number | string | undefined>>;

const quantile = (values: readonly number[] = [], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.trunc(values.length * share))] ?? NaN;
const megabytes = (bytes = NaN): number => Math.round(bytes / 1_048_576);

/** Attacks on servers, and then those on clients. */
export const ATTACKS: readonly string[] = [...Object.keys(SERVER_ATTACKS), ...Object.keys(CLIENT_ATTACKS)];

/** What an attack needs of the server, and of the honest client. */
export const planOf = (attack: string): ServerAttack => SERVER_ATTACKS[attack] ?? {};
export const usesTls = (attack: string): boolean =>
  planOf(attack).renegotiates === true || planOf(attack).recordBytes !== undefined;

/** A server, an honest client of it, and a hostile one, each in a process of its own. */
export class Attacked {
  private constructor(
    private readonly whose: Contender['whose'],
    private readonly streams: number,
    /** The process that is attacked. */
    private readonly target: ChildServer,
    private readonly canary: ChildServer,
    private readonly attacker: ChildServer,
    private readonly children: readonly ChildServer[],
    private readonly container: Container | undefined,
  ) {}

  /** Starts the processes for an attack, and for others with the same needs. */
  static async start({ whose, memory, heap }: Contender, attack: string): Promise<Attacked> {
    const { options = {}, streams = 0 } = planOf(attack);
    const tls = usesTls(attack) ? ['--tls'] : [];
    const flags = ['--expose-gc', ...(heap === undefined ? [] : [`--max-old-space-size=${String(heap)}`])];
    const container = memory === undefined ? undefined : Container.create(memory, flags);
    const typescript = { execArgv: ['--import', LOADER] };
    const measured = container?.start ?? { execArgv: flags };
    const isServer = !(attack in CLIENT_ATTACKS);
    const args = ['--server', isServer ? whose : 'theirs', '--options', JSON.stringify(options), ...tls];
    const server = await start('attacked-server', args, isServer ? measured : { execArgv: flags });
    const port = ['--port', String(server.port)];
    const attacker = await start(isServer ? 'attacker' : 'hostile-server', isServer ? port : [], typescript);
    const client = isServer
      ? ['--streams', String(streams), ...tls]
      : ['--hostile', String(attacker.port), '--client', whose];
    const canary = await start('canary', [...port, ...client], isServer ? {} : measured);
    const children = [canary, attacker, server];
    const attacked = new Attacked(whose, streams, isServer ? server : canary, canary, attacker, children, container);
    // The client connects to each of its servers.
    await waitFor(async () => (await attacked.report())?.sockets === attacked.usualSockets, { timeoutMs: ANSWER_MS });
    return attacked;
  }

  /** Sockets of the attacked process without an attack. */
  get usualSockets(): number {
    return this.target === this.canary ? 2 : 1;
  }

  get lives(): boolean {
    return this.children.every(({ running }) => running);
  }

  /** '127.0.0.1:port' of the server. */
  get url(): string {
    return this.target.url;
  }

  /** @param collects whether to collect garbage first */
  readonly report = (collects = false) => ask<ServerReport>(this.target, { collects });
  private readonly hear = () => ask<CanaryReport>(this.canary);

  /** Runs an attack, and measures it. */
  async run(attack: string, { ms, scale = 1, seed = 1 }: Extent, aloneMs: number): Promise<Figures> {
    const { target, streams, container } = this;
    const plan = planOf(attack);
    const earlier = await this.hear();
    // Calls cost more before their code is compiled.
    if (aloneMs > 0) await ask(this.canary, { warms: WARMING_CALLS });
    await this.hear();
    const before = await this.report(true);
    await pause(aloneMs);
    const idle = await this.report();
    const alone = await this.hear();

    await ask(this.attacker, { attack, scale, seed });
    // What a long attack meets is compiled code. Attacks on memory would be over.
    if (aloneMs > 0 && plan.memory !== true) await this.attackFor(aloneMs);
    const prepared = await this.hear();
    const first = await this.report();
    const beganAt = performance.now();
    const sent = await this.attackFor(ms ?? plan.ms ?? 3_000);
    const beside = await this.hear();
    const during = await this.report(true);
    const seconds = (performance.now() - beganAt) / 1_000;
    const usualMs = ((idle?.cpuBefore ?? NaN) - (before?.cpuAfter ?? NaN)) / (alone?.answered ?? NaN);
    await ask(this.attacker, { stop: true });
    const heard = [prepared, beside];
    let after: ServerReport | undefined;
    const isQuiet = async () => {
      heard.push(await this.hear());
      after = await this.report();
      const { sockets = 0, streams: open = 0, lingering = 0 } = after ?? {};
      return !target.running || (sockets <= this.usualSockets && open <= streams && lingering === 0);
    };
    // What Nest's server holds for longer is no matter of this library.
    const timeoutMs = this.whose === 'ours' ? 30_000 : 3_000;
    await waitFor(isQuiet, { timeoutMs, intervalMs: 200 }).catch(() => undefined);
    // What works in threads, such as inflating, ends later.
    const isFreed = async () => {
      after = await this.report(true);
      return (after?.heap ?? NaN) - (before?.heap ?? NaN) < KEPT_BYTES || !target.running;
    };
    await waitFor(isFreed, { timeoutMs: timeoutMs / 3, intervalMs: 500 }).catch(() => undefined);
    const last = heard.at(-1);
    const errors = heard.flatMap((report) => report?.errors ?? []);
    const cpuMs = (during?.cpuBefore ?? NaN) - (first?.cpuAfter ?? NaN) - usualMs * (beside?.answered ?? NaN);
    return {
      ...{ attack, whose: this.whose, container: container?.kind },
      lives: target.running ? 1 : 0,
      bytes: sent?.bytes,
      connections: sent?.opened,
      'CPU, % of a core': cpuMs / seconds / 10,
      'CPU, ns per byte': (cpuMs * 1e6) / (sent?.bytes ?? NaN),
      'p99 alone, ms': quantile(alone?.latencies, 0.99),
      'p99, ms': quantile(beside?.latencies, 0.99),
      'answered calls': heard.reduce((sum, report) => sum + (report?.answered ?? 0), 0),
      'failed calls': errors.length,
      failure: errors[0],
      'refused calls': last && last.refused - (earlier?.refused ?? 0),
      'lost streams': last && last.lost - (earlier?.lost ?? 0),
      'lost writes': last && after && Math.max(0, last.written - after.written),
      'most running': Math.max(first?.mostRunning ?? 0, during?.mostRunning ?? 0),
      'log, bytes': (first?.logged ?? 0) + (during?.logged ?? 0),
      'peak RSS, MB': megabytes(Math.max(first?.peak ?? 0, during?.peak ?? 0)),
      'peak of the container, MB': container?.peakBytes && megabytes(container.peakBytes),
      'heap during, MB': megabytes((during?.heap ?? NaN) - (before?.heap ?? NaN)),
      'heap kept, MB': megabytes((after?.heap ?? NaN) - (before?.heap ?? NaN)),
      'sockets kept': after && Math.max(0, after.sockets - this.usualSockets),
      'streams after': after && after.streams + after.lingering,
      limit: target.output.find((line) => plan.limit?.test(line) === true && /127\.0\.0\.1:\d+/.test(line)),
      ending: target.running ? undefined : target.output.slice(-40).join(' | ').slice(0, 1500),
    };
  }

  /**
   * Has connections, streams of all kinds, cancellations, and resets come and go. Returns by what shares the medians of the heap and of the
   * resident memory have grown between the second and the last sixth of the time.
   */
  async churn(minutes: number): Promise<Figures> {
    await ask(this.attacker, { attack: 'churn', scale: 1, seed: 1 });
    const sent = this.attackFor(minutes * 60_000);
    const samples: ServerReport[] = [];
    for (let sample = 0; sample < CHURN_SAMPLES; sample++) {
      await pause((minutes * 60_000) / CHURN_SAMPLES);
      const report = await this.report(true);
      if (report !== undefined) samples.push(report);
    }
    const growth = (figure: 'heap' | 'resident') => {
      const median = (from: number) =>
        quantile(
          samples.slice(from, from + CHURN_SAMPLES / 6).map((sample) => sample[figure] ?? NaN),
          0.5,
        );
      return median((CHURN_SAMPLES * 5) / 6) / median(CHURN_SAMPLES / 6) - 1;
    };
    const first = samples[0]?.cpuAfter ?? NaN;
    const cpuMs = (samples.at(-1)?.cpuBefore ?? NaN) - first;
    const heard = await this.hear();
    return {
      lives: this.lives ? 1 : 0,
      connections: (await sent)?.opened,
      'CPU, % of a core': cpuMs / (minutes * 600),
      'failed calls': heard?.errors.length,
      failure: heard?.errors[0],
      'refused calls': heard?.refused,
      'growth of the heap': growth('heap'),
      'growth of the resident memory': growth('resident'),
    };
  }

  private async attackFor(ms: number): Promise<{ bytes: number; opened: number } | undefined> {
    return ask(this.attacker, { ms }, ms + ANSWER_MS);
  }

  async close(): Promise<void> {
    for (const child of this.children) await child.close();
    await this.container?.remove();
  }
}

/** What an honest client does whose traffic resembles an attack. */
export type HonestWork = 'watches' | 'calls' | 'slow watches';

/** Has an honest client do its work on our server. Returns how many of its calls succeeded. */
export async function workHonestly(work: HonestWork, count: number, memory: number): Promise<Figures> {
  const container = Container.create(memory, ['--expose-gc']);
  const server = await start('attacked-server', [], container.start);
  const args = ['--port', String(server.port), '--work', work, '--count', String(count)];
  const client = await start('honest-client', args);
  try {
    const done = await ask<{ succeeded: number; failure?: string }>(client, {}, 5 * ANSWER_MS);
    const report = await ask<ServerReport>(server, {});
    const peak = megabytes(container.peakBytes ?? report?.peak);
    return { lives: server.running ? 1 : 0, ...done, 'peak, MB': peak, container: container.kind };
  } finally {
    await client.close();
    await server.close();
    await container.remove();
  }
}
