import { ChildServer } from 'nestjs-resilient-grpc/testing';
import { bundled } from '../../support/bundled.js';
import { pass } from './pass.js';
import type { Run } from './scenario.js';
import type { Upstream } from './upstream.js';

/** Results of polling a health route. */
export interface Followed {
  readonly count: number;
  /** Responses other than 200, and failed requests. */
  readonly others: readonly string[];
}

/** A message from the gateway's process. */
interface Message {
  /** gRPC address of the gateway. */
  readonly grpc?: string;
  /** Status code of an attempt that is retried after its backoff. */
  readonly retried?: number;
}

/** A Nest gateway in its own process: HTTP and gRPC in front of an upstream. */
export class Gateway {
  private constructor(
    private readonly run: Run,
    private readonly server: ChildServer,
  ) {}

  static async start(run: Run, upstream: Upstream, drainMs: number, outageGraceMs?: number): Promise<Gateway> {
    const retryPolicy = {
      maxAttempts: 2,
      initialBackoff: '60s',
      maxBackoff: '60s',
      backoffMultiplier: 1,
      retryableStatusCodes: ['ABORTED', 'UNAVAILABLE'],
    };
    const serviceConfig = { methodConfig: [{ name: [{ service: 'orders.v1.Orders', method: 'Get' }], retryPolicy }] };
    const client = JSON.stringify({ ...upstream.settings, serviceConfig, outageGraceMs });
    const server = await ChildServer.start({
      script: bundled(new URL('./gateway-process.mjs', import.meta.url)),
      args: (port) => [
        ...['--port', String(port), '--upstream', upstream.url],
        ...['--client', client, '--drain', String(drainMs)],
      ],
      ready: /listening on .*:(\d+)/,
      env: { NODE_ENV: 'production' },
      readyTimeoutMs: 60_000,
    });
    run.onEnd(() => server.close());
    return new Gateway(run, server);
  }

  /** Makes this gateway check the health of `other`, and call `other` for `/peer/:id`. */
  watch(other: Gateway): void {
    this.server.send({ peer: other.grpc });
  }

  async get(path: string): Promise<{ readonly code: number; readonly body: any }> {
    const answer = await this.open(path);
    return { code: answer.status, body: await answer.json() };
  }

  /** Resolves to the response after its headers have arrived. */
  open(path: string): Promise<Response> {
    return fetch(`http://${this.server.url}${path}`, { headers: { connection: 'close' } });
  }

  async code(path: string): Promise<number> {
    return (await this.get(path)).code;
  }

  /** Requests `path` repeatedly, with pauses of 100 ms, until `stop()` or the end of the run. */
  follow(path: string): { readonly count: number; stop(): Promise<Followed> } {
    const others: string[] = [];
    let count = 0;
    let isOver = false;
    const polling = (async () => {
      while (!isOver && !this.run.signal.aborted) {
        const code = await this.code(path).catch(String);
        count += 1;
        if (code !== 200) others.push(String(code));
        await pass(this.run, 100);
      }
    })();
    const stop = async () => {
      isOver = true;
      await polling;
      return { count, others };
    };
    this.run.onEnd(stop);
    return {
      get count() {
        return count;
      },
      stop,
    };
  }

  /** Sends SIGTERM; resolves to the time until the process has exited, in milliseconds. */
  async terminate(): Promise<number> {
    const signaledAt = performance.now();
    await this.server.terminate(60_000);
    return performance.now() - signaledAt;
  }

  /** True if an attempt to the upstream has failed with `code`, and its call has begun its backoff of 60 s. */
  isWaitingToRetry(code: number): boolean {
    return this.messages.some(({ retried }) => retried === code);
  }

  private get grpc(): string {
    return this.messages.find(({ grpc }) => grpc !== undefined)?.grpc ?? '';
  }

  private get messages(): readonly Message[] {
    // The cast is safe because all messages of the script are objects.
    return this.server.messages as readonly Message[];
  }
}
