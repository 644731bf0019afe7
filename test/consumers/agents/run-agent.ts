import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { freePort } from '../../support/free-port.mjs';
import { ROOT } from '../packed-library.js';
import type { Sight } from './compare.js';
import { startIntake, type Span } from './intake.js';
import { AGENTS, SITUATIONS } from './matrix.mjs';

const APPLICATION = join(ROOT, 'test/consumers/agents/application');
/** Time after which a process that does not answer is killed. */
const LIMIT_MS = 60_000;
/** Time after which a handler whose call has ended counts as hanging. */
const HANDLER_LIMIT_MS = 15_000;
const CONCURRENT_CALLS = 5;

export type Kind = 'nest' | 'resilient';

/** Writes the application into `folder`, as CommonJS, and the file that starts `agent`. */
export function writeApplication(folder: string, agent: string): void {
  const { start, flush } = agentOf(agent);
  for (const file of readdirSync(APPLICATION)) {
    if (!file.endsWith('.ts')) {
      cpSync(join(APPLICATION, file), join(folder, file));
      continue;
    }
    const { outputText } = ts.transpileModule(readFileSync(join(APPLICATION, file), 'utf8'), {
      compilerOptions: {
        module: ts.ModuleKind.CommonJS,
        target: ts.ScriptTarget.ES2022,
        esModuleInterop: true,
        experimentalDecorators: true,
        emitDecoratorMetadata: true,
      },
    });
    writeFileSync(join(folder, file.replace(/ts$/, 'js')), outputText);
  }
  writeFileSync(join(folder, 'start.cjs'), `${start}\nglobalThis.flushAgent = async () => {\n${flush}\n};\n`);
}

function agentOf(name: string) {
  const agent = AGENTS[name];
  if (agent === undefined) throw new Error(`unknown agent '${name}'`);
  return agent;
}

/** Runs all situations under `agent` with these kinds of client and server. Throws if a process fails or hangs. */
export async function runVariant(
  agent: string,
  folder: string,
  node: string,
  kinds: { readonly client: Kind; readonly server: Kind },
): Promise<Map<string, Sight>> {
  const intake = await startIntake(agent, folder);
  const env = { CLIENT: kinds.client, SERVER: kinds.server, GRPC_PORT: String(await freePort()) };
  const processes: Program[] = [];
  const start = (name: string) => {
    const program = new Program(name, folder, node, { ...env, ...intake.env(name) });
    processes.push(program);
    return program;
  };
  try {
    const service = start('service');
    await service.next((event) => event === 'ready');
    const gateway = start('gateway');
    const url = await gateway.next((event) => event.startsWith('http'));
    service.child.on('message', (event) => gateway.child.connected && gateway.child.send(event));
    const results = new Map<string, string[]>();
    const crashed = Promise.race([gateway.failed, service.failed]);
    crashed.catch(() => undefined);
    const answer = (situation: string) =>
      Promise.race([get(`${url}/${situation}`, crashed), crashed]).catch((error: unknown) => {
        throw new Error(`${situation}: ${String(error)}`);
      });
    for (const situation of Object.keys(SITUATIONS)) {
      const calls = situation === 'Concurrent' ? CONCURRENT_CALLS : 1;
      results.set(situation, await Promise.all(Array.from({ length: calls }, () => answer(situation))));
      if (/Cancel|Deadline/.test(situation))
        await service
          .next((event) => event === `ended ${situation}`, HANDLER_LIMIT_MS)
          .catch((error: unknown) => {
            results.get(situation)?.push(`the handler does not end: ${String(error)}`);
          });
    }
    for (const program of [gateway, service]) await program.end();
    const { spans } = intake;
    return new Map(
      Object.keys(SITUATIONS).map((situation) => [situation, sightOf(situation, spans, results.get(situation) ?? [])]),
    );
  } finally {
    for (const { child } of processes) child.kill('SIGKILL');
    intake.close();
  }
}

async function get(url: string, crashed: Promise<never>): Promise<string> {
  try {
    const answer = await fetch(url, { headers: { connection: 'close' }, signal: AbortSignal.timeout(LIMIT_MS) });
    return await answer.text();
  } catch (error) {
    if (error instanceof DOMException) throw error;
    // The gateway has reset the connection, so it is ending.
    return await crashed;
  }
}

/** One of the two processes, with its agent. */
class Program {
  readonly child: ChildProcess;
  /** Rejects if the process ends before it is asked to. */
  readonly failed: Promise<never>;
  private readonly exit: Promise<number | null>;
  private readonly events: string[] = [];
  private output = '';
  private ending = false;

  constructor(
    private readonly name: string,
    folder: string,
    node: string,
    env: Readonly<Record<string, string>>,
  ) {
    // Not the environment of the tests, which sets NODE_ENV and the options of Vitest.
    const { PATH = '', HOME = '', NESTJS_RESILIENT_GRPC_TRANSPORT: transport } = process.env;
    this.child = fork(join(folder, `${name}.js`), {
      cwd: folder,
      execPath: node,
      execArgv: ['--require', './start.cjs'],
      env: { PATH, HOME, ...(transport !== undefined && { NESTJS_RESILIENT_GRPC_TRANSPORT: transport }), ...env },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    for (const stream of [this.child.stdout, this.child.stderr])
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    // The cast is safe because both processes send only texts.
    this.child.on('message', (event) => this.events.push(event as string));
    this.exit = once(this.child, 'exit').then(([code]) => code as number | null);
    this.failed = this.exit.then((code) => {
      if (this.ending) return new Promise<never>(() => undefined);
      throw new Error(`the ${name} ended with ${String(code)}\n${this.output}`);
    });
    this.failed.catch(() => undefined);
  }

  /** Returns the first message that `matches`, and has not been returned before. */
  async next(matches: (event: string) => boolean, limitMs = LIMIT_MS): Promise<string> {
    const limit = AbortSignal.timeout(limitMs);
    for (;;) {
      const index = this.events.findIndex(matches);
      if (index !== -1) return this.events.splice(index, 1)[0] ?? '';
      await Promise.race([once(this.child, 'message', { signal: limit }), this.failed]).catch((error: unknown) => {
        throw limit.aborted ? new Error(`the ${this.name} did not answer\n${this.output}`) : error;
      });
    }
  }

  /** Closes the application and the agent, and waits until the process has ended. */
  async end(): Promise<void> {
    this.ending = true;
    this.child.send('end');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), LIMIT_MS);
    const code = await this.exit;
    clearTimeout(timer);
    if (code !== 0) throw new Error(`the ${this.name} ended with ${String(code)}\n${this.output}`);
  }
}

/** Describes the spans of a situation. */
function sightOf(situation: string, all: readonly Span[], results: readonly string[]): Sight {
  const byId = new Map(all.map((span) => [`${span.trace} ${span.id}`, span]));
  const above = (span: Span): string => {
    const parent = byId.get(`${span.trace} ${span.parent}`);
    if (parent === undefined) return span.parent === '' || span.parent === '0' ? 'none' : 'unknown';
    return parent.kind === 'other' ? above(parent) : parent.kind;
  };
  const methods = situation === 'Nested' ? ['Nested', 'Inner'] : [situation];
  const shown = all.filter(({ kind, method }) => (kind === 'client' || kind === 'server') && methods.includes(method));
  return {
    results: results.map((result) => result.replace(/(?<="details":")[^"]*/, knownText)).sort(),
    spans: shown.map((span) => ({
      process: span.process,
      kind: span.kind,
      name: span.name.replace(/127\.0\.0\.1:\d+/, 'HOST'),
      ...outcomeOf(span),
      below: above(span),
    })),
    traces: new Set(shown.map(({ trace }) => trace)).size,
  };
}

/** The outcome of a late call on the server depends on which timer fires first, the client's or the server's. */
function outcomeOf({ kind, method, status, message }: Span) {
  const isRace = kind === 'server' && method === 'Deadline';
  return isRace ? { status: 'any', message: 'any' } : { status, message: knownText(message) };
}

/** Reduces a text that does not come from a handler to 'text', because those of the library differ from those of grpc-js. */
function knownText(message: string): string {
  return /out of stock|try again|Internal server error/.exec(message)?.[0] ?? (message === '' ? '' : 'text');
}
