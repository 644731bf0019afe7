import { StatusCode } from '../../status/status-code.js';
import { systemClock } from '../../time/clock.js';
import type { Clock } from '../../time/clock.js';
import type { CallJournal, OpenRecord } from './call-journal.js';
import { sendReply } from './send-reply.js';
import type { Reply, Script } from './reply.js';
import { ScriptedRequestReader } from './request-reader.js';
import type { DuplexCall } from './request-reader.js';
import type { ScriptedCall } from './scripted-call.js';
import type { LoadedMethod } from './service-methods.js';
import { isError } from '../../errors/error-message.js';

/** The dependencies of a call handler. */
export interface CallHandlerOptions {
  readonly journal: CallJournal;
  readonly clock: Clock;
  readonly attemptKey: (call: ScriptedCall) => string | undefined;
  /** Returns true if the connection from `peer` is still open. */
  readonly isConnected: (peer: string) => boolean;
}

interface HeldReply {
  readonly path: string;
  readonly release: () => void;
}

/** Runs the scripts of calls, writes the journal, and holds replies until they are released or their calls end. */
export class CallHandler {
  /** The current scripts, by path. */
  readonly scripts = new Map<string, Script>();
  private readonly held = new Set<HeldReply>();

  constructor(private readonly options: CallHandlerOptions) {}

  /** Serves one call until it ends. */
  async handle(method: LoadedMethod, call: DuplexCall): Promise<void> {
    const { journal, clock, attemptKey } = this.options;
    const record = newRecord(method, call);
    const over = new AbortController();
    const reader = new ScriptedRequestReader(call, (request) => record.requests.push(request));
    const { path, metadata, peer, previousAttempts } = record;
    const scripted = {
      path,
      method: record.method,
      metadata,
      peer,
      previousAttempts,
      number: journal.begin(record),
      attempt: 1,
      deadline: Number(call.getDeadline()),
      get request() {
        return record.requests[0];
      },
      requests: reader,
      signal: over.signal,
    };
    // grpc-js emits 'cancelled' at the end of every call, even after this server has sent a status.
    call.once('cancelled', () => {
      journal.end(record, record.code === undefined ? this.lossOf(peer) : 'answered');
      over.abort();
    });
    if (!method.requestStream) await reader.drain();
    if (over.signal.aborted) return;
    const onStatus = (code: number) => {
      record.code = code;
    };
    try {
      const key = keyOf(scripted, attemptKey);
      if (key !== undefined) scripted.attempt = journal.setKey(record, key);
      const hold = () => this.hold(path, over.signal);
      const reply = await this.replyTo(scripted);
      await sendReply(reply, { method, call, scripted, reader, clock, hold, onStatus });
    } catch (error) {
      const failure = asStatus(error, path);
      onStatus(failure.code);
      call.emit('error', failure);
    }
  }

  /** Returns the number of held calls of one path, or of all paths. */
  heldCount(path?: string): number {
    return this.heldOf(path).length;
  }

  /** Releases the held calls of one path, or of all paths, and returns their number. */
  release(path?: string): number {
    const released = this.heldOf(path);
    for (const held of released) held.release();
    return released.length;
  }

  private heldOf(path: string | undefined): readonly HeldReply[] {
    return [...this.held].filter((held) => path === undefined || held.path === path);
  }

  private lossOf(peer: string): 'cancelled' | 'disconnected' {
    return this.options.isConnected(peer) ? 'cancelled' : 'disconnected';
  }

  private async replyTo(call: ScriptedCall): Promise<Reply> {
    const script = this.scripts.get(call.path);
    if (script === undefined)
      return {
        status: 'UNIMPLEMENTED',
        details: `no script is set for ${call.path}; set a script with script() or the scripts option`,
      };
    // Safe cast: checkedScript() has converted lists to functions.
    return typeof script === 'function' ? script(call) : (script as Reply);
  }

  private async hold(path: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const held: HeldReply = {
        path,
        release: () => {
          this.held.delete(held);
          signal.removeEventListener('abort', held.release);
          resolve();
        },
      };
      this.held.add(held);
      signal.addEventListener('abort', held.release);
    });
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

/** Returns the key of the call. An error that `attemptKey` throws becomes an INTERNAL status. */
function keyOf(call: ScriptedCall, attemptKey: (call: ScriptedCall) => string | undefined): string | undefined {
  try {
    return attemptKey(call);
  } catch (error) {
    throw Object.assign(new Error(`attemptKey threw ${String(error)}`), { code: StatusCode.INTERNAL });
  }
}

/** Returns an error thrown by a script unchanged if it has a numeric code; converts any other error to an INTERNAL status. */
function asStatus(error: unknown, path: string): Error & { readonly code: number } {
  if (isError(error) && 'code' in error && typeof error.code === 'number') {
    // Safe cast: checked above.
    return error as Error & { readonly code: number };
  }
  return Object.assign(new Error(`script of ${path} threw ${String(error)}`), { code: StatusCode.INTERNAL });
}
