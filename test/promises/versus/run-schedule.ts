import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { ChildServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { freePort } from '../../support/free-port.mjs';
import type { EndedCall, Run } from './judge.js';
import { Line } from './line.js';
import { CLIENTS, drawCalls, KEEPALIVE_TIMEOUT_MS, type Fault, type Schedule, type Side } from './schedule.js';

/** Time for processes to start, or for the last calls to end. */
const PATIENCE_MS = 120_000;

/** What a process of clients reports. */
interface ClientReport {
  readonly ended: readonly EndedCall[];
  readonly lateMs: number;
  readonly events: readonly ClientEvent[];
}

export interface ClientEvent {
  readonly type: string;
  readonly client: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface WatchedRun extends Run {
  readonly events: readonly ClientEvent[];
  readonly startedAt: number;
}

function start(script: string, config: object): Promise<ChildServer> {
  return ChildServer.start({
    // Not bundled, because Nest loads grpc-js itself, and a second copy of it refuses the metadata of the first.
    script: new URL(`./${script}.mjs`, import.meta.url),
    args: () => [JSON.stringify(config)],
    readyTimeoutMs: PATIENCE_MS,
  });
}

/** A server, its line, and the processes that replace it after kills. */
class Replica {
  private constructor(
    private server: ChildServer,
    readonly line: Line,
    private readonly standbys: ChildServer[],
  ) {}

  static async start({ server: side, line }: Schedule, log: string, kills: number): Promise<Replica> {
    const port = await freePort();
    const config = { side, port, log };
    const [server, ...standbys] = await Promise.all([
      start('server-process', config),
      ...Array.from({ length: kills }, () => start('server-process', { ...config, standby: true })),
    ]);
    return new Replica(server, await Line.start(port, line), standbys);
  }

  /** Injects a fault and resolves when it is over. */
  async suffer(fault: Fault): Promise<void> {
    const { line, server } = this;
    switch (fault.kind) {
      case 'kill':
        return this.replace(fault.forMs);
      case 'freeze':
        server.freeze();
        await pause(fault.forMs);
        server.thaw();
        return;
      case 'refuse':
        line.refuse();
        line.resetAll();
        await pause(fault.forMs);
        return line.listen();
      case 'reset':
        line.rule = { kind: 'reset' };
        line.resetAll();
        break;
      case 'slow':
        line.rule = { kind: 'slow', everyMs: fault.everyMs ?? 0 };
        line.resetAll();
        break;
      case 'answer':
        line.rule = { kind: 'answer', status: fault.status ?? 502, answers: fault.answers ?? 100 };
        line.goaway();
        break;
      case 'goaway':
        for (let leftMs = fault.forMs; leftMs > 0; leftMs -= fault.everyMs ?? leftMs) {
          line.goaway();
          await pause(Math.min(leftMs, fault.everyMs ?? leftMs));
        }
        return;
    }
    await pause(fault.forMs);
    line.forward();
  }

  private async replace(downMs: number): Promise<void> {
    const next = this.standbys.shift();
    if (next === undefined) throw new Error('no process is left that could replace the killed one');
    const listenAt = Date.now() + downMs;
    this.line.isServerDown = true;
    this.line.refuse();
    await this.server.kill();
    this.server = next;
    next.send({ listenAt });
    await waitFor(() => next.messages.length > 0, { timeoutMs: downMs + PATIENCE_MS, intervalMs: 2 });
    this.line.isServerDown = false;
    await this.line.listen();
  }

  async close(): Promise<void> {
    this.line.close();
    await Promise.all([this.server, ...this.standbys].map((server) => server.close()));
  }
}

/** Runs a schedule once with both sides. */
export async function runSchedule(schedule: Schedule): Promise<WatchedRun> {
  const folder = mkdtempSync(join(tmpdir(), 'versus-'));
  const log = join(folder, 'writes');
  writeFileSync(log, '');
  const closing: (() => Promise<void>)[] = [];
  try {
    const killsOf = (index: number) =>
      schedule.faults.filter(({ kind, on }) => kind === 'kill' && on.includes(index)).length;
    const replicas = await Promise.all(
      Array.from({ length: schedule.servers }, async (_, index) => {
        const replica = await Replica.start(schedule, log, killsOf(index));
        closing.push(() => replica.close());
        return replica;
      }),
    );
    const startClients = async (side: Side) => {
      const ports = replicas.map(({ line }) => line.ports[side]);
      const config = { side, ports, clients: CLIENTS, keepaliveTimeoutMs: KEEPALIVE_TIMEOUT_MS, schedule };
      const child = await start('client-process', config);
      closing.push(() => child.close());
      return child;
    };
    const [ours, theirs] = await Promise.all([startClients('ours'), startClients('theirs')]);
    const calls = drawCalls(schedule);
    const startedAt = Date.now() + 500;
    for (const child of [ours, theirs]) child.send({ calls, startAt: startedAt });
    const spans: { fromMs: number; returnMs: number }[] = [];
    for (const fault of schedule.faults) {
      await pause(Math.max(0, startedAt + fault.atMs - Date.now()));
      const fromMs = Date.now() - startedAt;
      await Promise.all(
        replicas.filter((_, index) => fault.on.includes(index)).map((replica) => replica.suffer(fault)),
      );
      spans.push({ fromMs, returnMs: Date.now() - startedAt });
    }
    const untilEndMs = startedAt + schedule.seconds * 1_000 - Date.now() + PATIENCE_MS;
    await waitFor(() => ours.messages.length > 0 && theirs.messages.length > 0, { timeoutMs: untilEndMs });
    // The casts are safe because the processes send nothing else.
    const reports = { ours: ours.messages[0] as ClientReport, theirs: theirs.messages[0] as ClientReport };
    return {
      ...{ schedule, calls, spans, startedAt },
      ended: { ours: reports.ours.ended, theirs: reports.theirs.ended },
      lateMs: { ours: reports.ours.lateMs, theirs: reports.theirs.lateMs },
      writes: readFileSync(log, 'utf8').split('\n').slice(0, -1),
      connections: replicas.flatMap(({ line }) =>
        line.ended.map(({ at, ...end }) => ({ ...end, atMs: at - startedAt })),
      ),
      events: reports.ours.events,
    };
  } finally {
    await Promise.all(closing.map((close) => close()));
    rmSync(folder, { recursive: true });
  }
}
