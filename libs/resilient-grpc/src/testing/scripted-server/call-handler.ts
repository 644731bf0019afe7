import type { Metadata } from '@grpc/grpc-js';
import { StatusCode } from '../../status/status-code.js';
import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import type { CallJournal, OpenRecord } from './call-journal.js';
import { playReply } from './play-reply.js';
import type { Reply, Script } from './reply.js';
import { RequestReader } from './request-reader.js';
import type { DuplexCall } from './request-reader.js';
import type { ScriptedCall } from './scripted-call.js';
import type { LoadedMethod } from './service-methods.js';

/** What handles the calls of a server. */
export interface CallHandlerOptions {
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly attemptKey: (call: ScriptedCall) => string | undefined;
  /** The script of a path, as it is now. */
  readonly scriptOf: (path: string) => Script | undefined;
  /** Whether the connection from `peer` is still there. */
  readonly isConnected: (peer: string) => boolean;
}

interface Held {
  readonly path: string;
  readonly release: () => void;
}

/** Plays scripts on calls, keeps the journal, and holds calls until they are released. */
export class CallHandler {
  readonly #options: CallHandlerOptions;
  readonly #held = new Set<Held>();

  constructor(options: CallHandlerOptions) {
    this.#options = options;
  }

  /** Serves one call to its end. */
  async handle(method: LoadedMethod, call: DuplexCall): Promise<void> {
    const { journal, clock, attemptKey } = this.#options;
    const record = newRecord(method, call);
    const over = new AbortController();
    const reader = new RequestReader(call, (request) => record.requests.push(request));
    const scripted = new HandledCall(record, journal.begin(record), Number(call.getDeadline()), reader, over.signal);
    // grpc-js says 'cancelled' at every end, also after a status of ours.
    call.once('cancelled', () => {
      journal.end(record, record.code === undefined ? this.#lossOf(record.peer) : 'answered');
      over.abort();
    });
    if (!method.requestStream) await reader.drain();
    if (over.signal.aborted) return;
    const key = attemptKey(scripted);
    if (key !== undefined) scripted.attempt = journal.keyed(record, key);
    const onStatus = (code: number) => {
      record.code = code;
    };
    try {
      const held = () => this.#hold(record.path, over.signal);
      const reply = await this.#replyTo(scripted);
      await playReply(reply, { method, call, scripted, reader, clock, held, onStatus });
    } catch (error) {
      const failure = asStatus(error, record.path);
      onStatus(failure.code);
      call.emit('error', failure);
    }
  }

  /** Calls that stand in a hold, of one path or of all. */
  heldCount(path?: string): number {
    return this.#heldOf(path).length;
  }

  /** Lets them go on; gives their number. */
  release(path?: string): number {
    const released = this.#heldOf(path);
    for (const held of released) held.release();
    return released.length;
  }

  #heldOf(path: string | undefined): readonly Held[] {
    return [...this.#held].filter((held) => path === undefined || held.path === path);
  }

  #lossOf(peer: string): 'cancelled' | 'disconnected' {
    return this.#options.isConnected(peer) ? 'cancelled' : 'disconnected';
  }

  async #replyTo(call: ScriptedCall): Promise<Reply> {
    const script = this.#options.scriptOf(call.path);
    if (script === undefined) return { status: 'UNIMPLEMENTED', details: `no script for ${call.path}` };
    // True: a list became a function when it was set.
    return typeof script === 'function' ? script(call) : (script as Reply);
  }

  async #hold(path: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const held: Held = {
        path,
        release: () => {
          this.#held.delete(held);
          signal.removeEventListener('abort', held.release);
          resolve();
        },
      };
      this.#held.add(held);
      signal.addEventListener('abort', held.release);
    });
  }
}

class HandledCall implements ScriptedCall {
  readonly path: string;
  readonly method: string;
  readonly metadata: Metadata;
  readonly peer: string;
  readonly previousAttempts: number;
  attempt = 1;
  readonly #record: OpenRecord;

  constructor(
    record: OpenRecord,
    readonly number: number,
    readonly deadline: number,
    readonly requests: AsyncIterable<unknown>,
    readonly signal: AbortSignal,
  ) {
    this.path = record.path;
    this.method = record.method;
    this.metadata = record.metadata;
    this.peer = record.peer;
    this.previousAttempts = record.previousAttempts;
    this.#record = record;
  }

  get request(): unknown {
    return this.#record.requests[0];
  }
}

function newRecord(method: LoadedMethod, call: DuplexCall): OpenRecord {
  return {
    path: method.path,
    method: method.path.slice(method.path.lastIndexOf('/') + 1),
    metadata: call.metadata,
    peer: call.getPeer(),
    key: undefined,
    previousAttempts: Number(call.metadata.get('grpc-previous-rpc-attempts')[0] ?? 0),
    at: systemClock.epoch(),
    requests: [],
    outcome: 'open',
    code: undefined,
  };
}

/** What a script threw: a status where it has a code, INTERNAL otherwise. */
function asStatus(error: unknown, path: string): Error & { readonly code: number } {
  if (error instanceof Error && 'code' in error && typeof error.code === 'number') {
    // True: just checked.
    return error as Error & { readonly code: number };
  }
  return Object.assign(new Error(`the script of ${path} threw ${String(error)}`), { code: StatusCode.INTERNAL });
}
